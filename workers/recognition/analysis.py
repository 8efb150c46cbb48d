"""What is asked of the face pipeline and what it answers, in the host's terms and in the child's frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.recognition import Face, Purpose, QualityPolicy


@dataclass(frozen=True)
class PhotoRequest:
    """A photo to be looked at. Without `all_faces`, only the most prominent face is wanted."""

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
class Analysis:
    """A usable photo: its upright size and its faces, at least one, the most prominent first.

    `timings_ms` tells of `open`, `detect` (with crops and quality) and `embed`, the last that of the whole
    batch."""

    width_px: int
    height_px: int
    faces: tuple[AnalysedFace, ...]
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class Refusal:
    """A photo that cannot be used: a code of `schemas.problems`, a detail fit for the client, and what faces
    were found."""

    code: str
    detail: str
    faces: tuple[Face, ...] = ()


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


def answer_to_frame(answer: Analysis | Refusal) -> dict[str, Any]:
    """An answer as msgpack can carry it; templates are little-endian float32."""
    if isinstance(answer, Refusal):
        faces: Sequence[Any] = [face.model_dump() for face in answer.faces]
        return {"ok": False, "code": answer.code, "detail": answer.detail, "faces": faces}
    faces = [
        {"face": found.face.model_dump(), "template": found.template.astype("<f4").tobytes()}
        for found in answer.faces
    ]
    return {
        "ok": True,
        "width_px": answer.width_px,
        "height_px": answer.height_px,
        "faces": faces,
        "timings_ms": answer.timings_ms,
    }


def answer_from_frame(frame: Mapping[str, Any]) -> Analysis | Refusal:
    """The inverse of `answer_to_frame`."""
    if not frame["ok"]:
        return Refusal(
            frame["code"], frame["detail"], tuple(Face.model_validate(face) for face in frame["faces"])
        )
    faces = tuple(
        AnalysedFace(
            Face.model_validate(found["face"]), np.frombuffer(found["template"], "<f4").astype(np.float32)
        )
        for found in frame["faces"]
    )
    return Analysis(frame["width_px"], frame["height_px"], faces, frame["timings_ms"])
