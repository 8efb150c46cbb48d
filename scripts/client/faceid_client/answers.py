"""What the server answers, as types. `raw` of each is the whole of the JSON, with what is not named here."""

import types
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, Self, Union, cast, get_args, get_origin, get_type_hints

from faceid_client.errors import FaceIdError


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The base of all answers. Fields of a newer server that are not known here are in `raw` only."""

    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def read(cls, body: Any) -> Self:
        """Build it from the JSON. Raises FaceIdError if the server does not speak this API."""
        if not isinstance(body, dict):
            raise FaceIdError("The server's answer is no JSON object: is this a FaceID server?")
        body = cast("dict[str, Any]", body)
        given: dict[str, Any] = {"raw": body}
        hints = _hints(cls)
        for one in fields(cls):
            if one.name in body:
                given[one.name] = _built(hints[one.name], body[one.name])
            elif one.name != "raw" and one.default is MISSING and one.default_factory is MISSING:
                raise FaceIdError(f"The server's answer has no `{one.name}`: is this a FaceID server?")
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class Box(Answer):
    """A rectangle in the upright photo, in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Face(Answer):
    """A face in a photo."""

    box: Box
    detection_confidence: float
    quality: dict[str, float]
    landmarks: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Enrolment(Answer):
    """A face is in the gallery: the next search finds it."""

    job_id: str
    face_id: str
    user_id: str
    full_name: str | None
    tags: list[str]
    groups: list[str]
    face: Face
    valid_until: datetime | None = None
    consent: dict[str, str] | None = None
    already_enrolled: bool = False
    """This very photo was enrolled before; nothing was added."""
    flagged_duplicate: bool = False
    """The company's policy let a face in that resembles another user's: somebody should look."""


@dataclass(frozen=True, kw_only=True)
class Candidate(Answer):
    """A user whom the photo may show, by the best of the user's faces. `confidence` is in percent."""

    face_id: str
    user_id: str
    full_name: str | None
    tags: list[str]
    groups: list[str]
    similarity: float
    confidence: float
    fpir: float


@dataclass(frozen=True, kw_only=True)
class FaceFound(Answer):
    """Who one of several faces is; `code` says why one could not be searched for."""

    matched: bool
    best: Candidate | None
    candidates: list[Candidate]
    face: Face
    threshold: float | None = None
    code: str | None = None


@dataclass(frozen=True, kw_only=True)
class Search(Answer):
    """Who the photo shows, or that it is nobody who is enrolled."""

    job_id: str
    matched: bool
    best: Candidate | None
    candidates: list[Candidate]
    face: Face
    threshold: float
    gallery_size: int
    results: list[FaceFound] | None = None
    """With `face="all"`: one a face, the most prominent first."""

    @property
    def found(self) -> list[FaceFound]:
        """What was found for each face, one face being a list of one."""
        return self.results or [FaceFound.read(self.raw)]


@dataclass(frozen=True, kw_only=True)
class Verification(Answer):
    """Whether the photo is of this user, or two photos are of one person."""

    job_id: str
    matched: bool
    similarity: float
    confidence: float
    threshold: float
    face: Face
    user_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Detection(Answer):
    """The faces in a photo, the most prominent first."""

    job_id: str
    faces: list[Face]


@dataclass(frozen=True, kw_only=True)
class Job(Answer):
    """A job: how far it is, and what came of it for as long as that is kept."""

    job_id: str
    kind: str
    state: Literal["queued", "succeeded", "failed", "expired", "superseded"]
    created_at: datetime
    ended_at: datetime | None
    correlation_id: str
    result: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class LogEntry(Answer):
    """One attempt at recognition."""

    time: datetime
    job_id: str
    kind: str
    outcome: str
    code: str | None = None
    user_id: str | None = None
    confidence: float | None = None
    similarity: float | None = None
    threshold: float | None = None
    location: dict[str, Any] | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class User(Answer):
    """A person who may be recognised."""

    user_id: str
    full_name: str | None = None
    tags: list[str] = field(default_factory=list[str])
    groups: list[str] = field(default_factory=list[str])
    reference_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    valid_until: datetime | None = None
    consent: dict[str, str] | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class EnrolledFace(Answer):
    """A face of the gallery and whose it is; never the template."""

    face_id: str
    user_id: str
    full_name: str | None = None
    created_at: datetime | None = None
    has_photo: bool = False


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _built(hint: Any, value: Any) -> Any:
    """The value as its type wants it: answers within answers, lists of them, times."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = [part for part in get_args(hint) if part is not type(None)]
        return value if value is None or len(inner) != 1 else _built(inner[0], value)
    if get_origin(hint) is list and isinstance(value, list):
        return [_built(get_args(hint)[0], item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(hint, type) and is_dataclass(hint) and issubclass(hint, Answer) and isinstance(value, dict):
        return hint.read(value)
    return datetime.fromisoformat(value) if hint is datetime and isinstance(value, str) else value
