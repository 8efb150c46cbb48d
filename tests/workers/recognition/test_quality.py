"""What is measured on a face, and what is refused for it."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.problem_types import PROBLEM_TYPES
from schemas.recognition import Box, Face, Landmarks, Point, Purpose, Quality, QualityPolicy
from workers.recognition.quality import measure, pose, refusal, template_refusal

SIZE = (500, 400)
BOX = Box(x=100, y=100, width=120, height=150)


def landmarks(*, yaw_degrees: float = 0, roll_degrees: float = 0) -> Landmarks:
    """A face of 60 px between the eyes whose nose stands half of that before them, turned, then tilted."""
    yaw, roll = math.radians(yaw_degrees), math.radians(roll_degrees)
    places = {
        "left_eye": (-30 * math.cos(yaw), 0.0),
        "right_eye": (30 * math.cos(yaw), 0.0),
        "nose": (30 * math.sin(yaw), 35.0),
        "mouth_left": (-20 * math.cos(yaw), 70.0),
        "mouth_right": (20 * math.cos(yaw), 70.0),
    }
    return Landmarks(
        **{
            name: Point(
                x=150 + x * math.cos(roll) - y * math.sin(roll),
                y=150 + x * math.sin(roll) + y * math.cos(roll),
            )
            for name, (x, y) in places.items()
        }
    )


@pytest.mark.parametrize("yaw", [-70, -30, 0, 15, 60])
@pytest.mark.parametrize("roll", [-100, -20, 0, 45, 90])
def test_yaw_and_roll_are_told_apart(yaw: float, roll: float) -> None:
    assert pose(landmarks(yaw_degrees=yaw, roll_degrees=roll)) == pytest.approx((yaw, roll), abs=1e-6)


def test_eyes_in_one_place_are_a_profile() -> None:
    point = Point(x=5, y=5)
    both = Landmarks(left_eye=point, right_eye=point, nose=point, mouth_left=point, mouth_right=point)
    assert pose(both) == (90.0, 0.0)


def crop(level: float, contrast: float = 0, *, coarse: int = 1) -> NDArray[np.uint8]:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(160 // coarse, 160 // coarse, 1)).repeat(coarse, 0).repeat(coarse, 1)
    return np.clip(level + contrast * noise.repeat(3, 2), 0, 255).astype(np.uint8)


def test_brightness_and_overexposure_are_those_of_the_face() -> None:
    framed = crop(60)
    framed[:16] = framed[-16:] = 255  # the margin does not count
    framed[:, :16] = framed[:, -16:] = 255
    quality = measure(framed, BOX, landmarks())
    assert quality.brightness == pytest.approx(60, abs=0.5)
    assert quality.overexposed_share == 0
    framed[16:80] = 255
    assert measure(framed, BOX, landmarks()).overexposed_share == pytest.approx(0.5)
    assert quality.face_width_px == BOX.width


def test_sharpness_falls_with_blur() -> None:
    sharpness = [
        measure(crop(128, 40, coarse=coarse), BOX, landmarks()).sharpness for coarse in (1, 2, 8, 40)
    ]
    assert sharpness == sorted(sharpness, reverse=True)
    assert measure(crop(128), BOX, landmarks()).sharpness == 0


def face(*, width: float = 120, confidence: float = 0.999, **quality: float) -> Face:
    good = {
        "sharpness": 30.0,
        "brightness": 120.0,
        "overexposed_share": 0.0,
        "yaw_degrees": 5.0,
        "roll_degrees": -5.0,
        "face_width_px": width,
    }
    return Face(
        box=Box(x=250 - width / 2, y=200 - width / 2, width=width, height=width),
        landmarks=landmarks(),
        quality=Quality(**{**good, **quality}),
        detection_confidence=confidence,
    )


GOOD = face()


@pytest.mark.parametrize("purpose", ["enrolment", "probe"])
@pytest.mark.parametrize(
    ("faces", "code"),
    [
        ([], "no_face"),
        ([GOOD], None),
        ([face(width=30)], "face_too_small"),
        ([face(confidence=0.75)], "low_detection_confidence"),
        ([face(yaw_degrees=-75)], "extreme_pose"),
        ([face(roll_degrees=80)], "extreme_pose"),
        ([face(sharpness=0.5)], "low_sharpness"),
        ([face(brightness=5)], "low_brightness"),
        ([face(overexposed_share=0.9)], "overexposed"),
        ([GOOD, face(width=50)], None),
        ([GOOD, face(confidence=0.72)], None),
    ],
)
def test_faces_are_refused_with_a_code(purpose: Purpose, faces: list[Face], code: str | None) -> None:
    refused = refusal(faces, purpose, QualityPolicy(), *SIZE)
    assert refused is None or refused[1].endswith(PROBLEM_TYPES[refused[0]].remedy)
    assert (refused[0] if refused else None) == code


def test_a_second_prominent_face_matters_at_enrolment_only() -> None:
    faces = [GOOD, face(width=110)]
    refused = refusal(faces, "enrolment", QualityPolicy(), *SIZE)
    assert refused is not None
    assert refused[0] == "multiple_faces"
    assert refusal(faces, "probe", QualityPolicy(), *SIZE) is None


def test_the_policy_decides() -> None:
    assert refusal([face(width=30)], "probe", QualityPolicy(min_face_width_px=25), *SIZE) is None
    assert refusal([face(yaw_degrees=25)], "probe", QualityPolicy(max_yaw_degrees=20), *SIZE) is not None


def test_a_template_is_judged_by_the_policy() -> None:
    quality = face(response_strength=0.65).quality
    refused = template_refusal(quality, QualityPolicy())
    assert refused is not None
    assert refused[0] == "low_template_quality"
    assert template_refusal(quality, QualityPolicy(min_response_strength=0.6)) is None


def test_a_face_without_a_template_is_not_judged() -> None:
    with pytest.raises(ValueError, match="without a template"):
        template_refusal(GOOD.quality, QualityPolicy())
