"""What is asked of the face pipeline and what it answers, in the host's terms and in the child's frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.recognition import Engine, Face, Purpose, QualityPolicy


@dataclass(frozen=True)
class PhotoRequest:
    """A photo to be looked at. Without `all_faces`, only the most prominent face of a probe is wanted."""

    photo: bytes
    purpose: Purpose
    all_faces: bool = False
    quality: QualityPolicy = field(default_factory=QualityPolicy)


@dataclass(frozen=True)
class AnalysedFace:
    """A face that is good enough, and its template: float32 [128], L2-normalised."""

    face: Face
    template: NDArray[np.float32]


@dataclass(frozen=True)
class UnusableFace:
    """A face that is not searched for: a code of `schemas.problems`, and a detail fit for the client."""

    face: Face
    code: str
    detail: str


@dataclass(frozen=True)
class JudgedFace:
    """A face that was found, and why it cannot be used (code and detail): to enrol it from its photo, and as
    a probe for itself."""

    face: Face
    enrolment: tuple[str, str] | None
    probe: tuple[str, str] | None


@dataclass(frozen=True)
class Analysis:
    """A usable photo: its upright size and its faces, at least one, the most prominent first.

    `timings_ms` tells of `open`, `detect` (with crops and quality) and `embed`, the last that of the whole
    batch."""

    width_px: int
    height_px: int
    faces: tuple[AnalysedFace, ...]
    timings_ms: dict[str, float]
    unusable: tuple[UnusableFace, ...] = ()
    """With `all_faces`, the faces that have no template, and why."""
    engine: Engine = field(kw_only=True)
    """What computed the templates."""


@dataclass(frozen=True)
class Detection:
    """What is in a photo that is only looked at: all faces, the most prominent first, without templates."""

    width_px: int
    height_px: int
    faces: tuple[JudgedFace, ...]
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class Refusal:
    """A photo that cannot be used: a code of `schemas.problems`, a detail fit for the client, and what faces
    were found."""

    code: str
    detail: str
    faces: tuple[Face, ...] = ()


Answer = Analysis | Detection | Refusal


def request_to_frame(request: PhotoRequest) -> dict[str, Any]:
    """A request as msgpack can carry it."""
    return {
        "photo": request.photo,
        "purpose": request.purpose,
        "all_faces": request.all_faces,
        "quality": request.quality.model_dump(),
    }


def request_from_frame(frame: Mapping[str, Any]) -> PhotoRequest:
    """The inverse of `request_to_frame`."""
    return PhotoRequest(
        frame["photo"], frame["purpose"], frame["all_faces"], QualityPolicy.model_validate(frame["quality"])
    )


def answer_to_frame(answer: Answer) -> dict[str, Any]:
    """An answer as msgpack can carry it; templates are little-endian float32."""
    if isinstance(answer, Refusal):
        faces: Sequence[Any] = [face.model_dump() for face in answer.faces]
        return {"kind": "refusal", "code": answer.code, "detail": answer.detail, "faces": faces}
    frame: dict[str, Any] = {
        "width_px": answer.width_px,
        "height_px": answer.height_px,
        "timings_ms": answer.timings_ms,
    }
    if isinstance(answer, Detection):
        judged = [(found.face.model_dump(), found.enrolment, found.probe) for found in answer.faces]
        return {**frame, "kind": "detection", "faces": judged}
    faces = [
        {"face": found.face.model_dump(), "template": found.template.astype("<f4").tobytes()}
        for found in answer.faces
    ]
    unusable = [(found.face.model_dump(), found.code, found.detail) for found in answer.unusable]
    engine = answer.engine.model_dump()
    return {**frame, "kind": "analysis", "faces": faces, "unusable": unusable, "engine": engine}


def answer_from_frame(frame: Mapping[str, Any]) -> Answer:
    """The inverse of `answer_to_frame`."""
    if frame["kind"] == "refusal":
        return Refusal(
            frame["code"], frame["detail"], tuple(Face.model_validate(face) for face in frame["faces"])
        )
    if frame["kind"] == "detection":
        judged = tuple(
            JudgedFace(Face.model_validate(face), _reason(enrolment), _reason(probe))
            for face, enrolment, probe in frame["faces"]
        )
        return Detection(frame["width_px"], frame["height_px"], judged, frame["timings_ms"])
    faces = tuple(
        AnalysedFace(
            Face.model_validate(found["face"]), np.frombuffer(found["template"], "<f4").astype(np.float32)
        )
        for found in frame["faces"]
    )
    unusable = tuple(
        UnusableFace(Face.model_validate(face), code, detail) for face, code, detail in frame["unusable"]
    )
    return Analysis(
        frame["width_px"],
        frame["height_px"],
        faces,
        frame["timings_ms"],
        unusable,
        engine=Engine.model_validate(frame["engine"]),
    )


def _reason(pair: Sequence[str] | None) -> tuple[str, str] | None:
    return None if pair is None else (pair[0], pair[1])
