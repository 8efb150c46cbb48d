"""The JSON of the API, as types. At run time they are plain dicts, with whatever a newer server adds.

Each answer has the members and the names that `/docs` of the server explains; times are RFC 3339.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict


class Person(TypedDict, total=False):
    """What belongs to a user, as it is given; what is left out stays as it is."""

    full_name: str | None
    tags: Sequence[str]
    groups: Sequence[str]
    reference_id: str | None
    metadata: Mapping[str, Any]
    valid_until: str | None
    consent: Mapping[str, str] | None


class SearchOptions(TypedDict, total=False):
    """How a search goes. `threshold` is percent of confidence: 85, "85%" and 0.85 mean the same."""

    threshold: float | str | None
    groups: Sequence[str] | None
    limit: int | None
    location: Mapping[str, Any] | None
    face: Literal["largest", "all"]
    investigate: bool


class Box(TypedDict):
    """A rectangle in the upright photo, in pixels."""

    x: float
    y: float
    width: float
    height: float


class Quality(TypedDict):
    sharpness: float
    brightness: float
    overexposed_share: float
    yaw_degrees: float
    roll_degrees: float
    face_width_px: float
    response_strength: float | None


class Face(TypedDict):
    """A face in a photo."""

    box: Box
    landmarks: dict[str, dict[str, float]]
    quality: Quality
    detection_confidence: float


class Usability(TypedDict):
    usable: bool
    code: str | None
    detail: str | None


class DetectedFace(Face):
    """A face, and whether it would do."""

    enrolment: Usability
    probe: Usability


class Comparison(TypedDict):
    """How alike two faces are; `confidence` is in percent."""

    similarity: float
    score: float
    confidence: float
    fmr: float
    extrapolated: bool


class Consent(TypedDict):
    text_version: str
    given_at: str
    recorded_by: str


class _Done(TypedDict):
    job_id: str
    timings_ms: dict[str, float]


class _Person(TypedDict):
    user_id: str
    full_name: str | None
    tags: list[str]
    groups: list[str]
    reference_id: str | None
    metadata: dict[str, Any]


class Enrolment(_Done, _Person):
    """A face is in the gallery: the next search finds it."""

    face_id: str
    valid_until: str | None
    consent: Consent | None
    already_enrolled: bool
    flagged_duplicate: bool
    face: Face
    quality: Quality
    reference: Comparison | None
    model: dict[str, str]
    engine: dict[str, str] | None


class Candidate(_Person, Comparison):
    """A user whom the photo may show, by the best of the user's faces."""

    face_id: str
    fpir: float
    accepted: bool


class _Found(TypedDict):
    matched: bool
    best: Candidate | None
    candidates: list[Candidate]
    face: Face


class FaceFound(_Found):
    """Who one of several faces is; `code` says why one could not be searched for."""

    threshold: float | None
    threshold_source: str | None
    code: str | None
    detail: str | None


class Search(_Done, _Found):
    """Who the photo shows, or that it is nobody who is enrolled. `results`, with `face="all"`: one a face."""

    threshold: float
    threshold_source: str
    results: list[FaceFound] | None
    gallery_size: int
    model: dict[str, str]
    engine: dict[str, str] | None


class Verification(_Done, Comparison):
    """Whether the photo is of this user, or two photos are of one person."""

    matched: bool
    user_id: str | None
    face_id: str | None
    fpir: float
    threshold: float
    threshold_source: str
    comparisons: int
    face: Face
    other_face: Face | None
    model: dict[str, str]
    engine: dict[str, str] | None


class Detection(_Done):
    """The faces in a photo, the most prominent first."""

    width_px: int
    height_px: int
    faces: list[DetectedFace]


class Job(TypedDict):
    """How far a job is, and what came of it for as long as that is kept."""

    job_id: str
    kind: str
    state: Literal["queued", "succeeded", "failed", "expired", "superseded"]
    created_at: str
    ended_at: str | None
    correlation_id: str
    result: dict[str, Any] | None
    problem: dict[str, Any] | None


class LogEntry(TypedDict):
    """One attempt at recognition."""

    time: str
    job_id: str
    kind: str
    outcome: Literal["matched", "not_matched", "enrolled", "refused", "failed", "expired"]
    code: str | None
    user_id: str | None
    other_user_ids: list[str]
    nearest_user_id: str | None
    score: float | None
    similarity: float | None
    confidence: float | None
    threshold: float | None
    location: dict[str, Any] | None
    photo_hash: str | None
    credential: str
    correlation_id: str


class User(_Person):
    """A person who is enrolled."""

    consent: Consent | None
    valid_until: str | None
    expired: bool
    faces: int
    created_at: str
    updated_at: str


class EnrolledFace(TypedDict):
    """A face of the gallery and whose it is; never the template."""

    face_id: str
    user_id: str
    full_name: str | None
    groups: list[str]
    tags: list[str]
    quality: Quality | None
    box: Box | None
    model: dict[str, str]
    created_at: str
    enrolled_by: str | None
    has_photo: bool
    has_reference_photo: bool
