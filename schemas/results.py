"""What jobs answer: the bodies of a successful enrolment, search and deletion."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from schemas.recognition import Face, ModelStamp, Quality


class Answer(BaseModel):
    """The base of every answer body."""

    model_config = ConfigDict(extra="forbid")


class EnrolResult(Answer):
    """A face is in the gallery: the next search on any ingress finds it."""

    job_id: UUID
    face_id: UUID
    user_id: str
    full_name: str | None
    tags: list[str]
    groups: list[str]
    reference_id: str | None
    metadata: dict[str, JsonValue]
    already_enrolled: bool = False
    flagged_duplicate: bool = False
    """The company's policy let a face in that resembles another user's: somebody should look."""
    face: Face
    quality: Quality
    model: ModelStamp
    timings_ms: dict[str, float]


class Candidate(Answer):
    """One user whom the probe may be, by the best of the user's faces."""

    face_id: UUID
    user_id: str
    full_name: str | None
    tags: list[str]
    groups: list[str]
    reference_id: str | None
    metadata: dict[str, JsonValue]
    similarity: float
    score: float
    confidence: float
    """Percent; see `schemas.scoring`."""
    fmr: float
    fpir: float
    extrapolated: bool
    """The rates lie beyond the calibration's data and are upper bounds."""


class SearchResult(Answer):
    """Who the probe is, or that nobody is near enough."""

    job_id: UUID
    matched: bool
    best: Candidate | None
    candidates: list[Candidate]
    face: Face
    threshold: float
    """Percent of confidence that a candidate had to reach."""
    threshold_source: str
    gallery_size: int
    """How many users were searched; may be 30 s old. Confidence and rates are reckoned over their faces."""
    model: ModelStamp
    timings_ms: dict[str, float]


class DeletionResult(Answer):
    """A face or a person is gone from records, index and photos."""

    job_id: UUID
    faces_deleted: int


class Location(Answer):
    """Where a probe was taken, as the door tells it."""

    device_id: str | None = Field(default=None, max_length=128)
    site: str | None = Field(default=None, max_length=128)
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
