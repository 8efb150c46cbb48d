"""Requests and answers survive the way between host and child."""

import msgpack
import numpy as np

from schemas.recognition import Box, Engine, Face, Landmarks, Point, Quality, QualityPolicy
from workers.recognition.analysis import (
    AnalysedFace,
    Analysis,
    PhotoRequest,
    Refusal,
    answer_from_frame,
    answer_to_frame,
    request_from_frame,
    request_to_frame,
)

POINT = Point(x=1.5, y=2.5)
FACE = Face(
    box=Box(x=-1.0, y=2.0, width=3.0, height=4.0),
    landmarks=Landmarks(left_eye=POINT, right_eye=POINT, nose=POINT, mouth_left=POINT, mouth_right=POINT),
    quality=Quality(
        sharpness=1.0,
        brightness=2.0,
        overexposed_share=0.5,
        yaw_degrees=-4.0,
        roll_degrees=5.0,
        face_width_px=3.0,
    ),
    detection_confidence=0.75,
)


def test_a_request_comes_back_as_it_was() -> None:
    request = PhotoRequest(
        b"\x00photo", "enrolment", all_faces=True, quality=QualityPolicy(max_yaw_degrees=20)
    )
    assert request_from_frame(msgpack.unpackb(msgpack.packb(request_to_frame(request)))) == request


def test_an_analysis_comes_back_as_it_was() -> None:
    template = np.random.default_rng(0).normal(size=128).astype(np.float32)
    engine = Engine(name="made up 1", device="cpu", precision="bf16")
    sent = Analysis(640, 480, (AnalysedFace(FACE, template),), {"open": 1.25, "detect": 2.5}, engine=engine)
    back = answer_from_frame(msgpack.unpackb(msgpack.packb(answer_to_frame(sent))))
    assert isinstance(back, Analysis)
    assert (back.width_px, back.height_px, back.timings_ms) == (640, 480, sent.timings_ms)
    assert back.engine == engine
    assert back.faces[0].face == FACE
    assert np.array_equal(back.faces[0].template, template)
    assert back.faces[0].template.dtype == np.float32


def test_a_refusal_comes_back_as_it_was() -> None:
    refusal = Refusal("multiple_faces", "Too many.", (FACE, FACE))
    assert answer_from_frame(msgpack.unpackb(msgpack.packb(answer_to_frame(refusal)))) == refusal
