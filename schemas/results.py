"""What jobs answer: the bodies of a successful enrolment, search and deletion."""

from uuid import UUID

from pydantic import Field, JsonValue

from schemas.api.base import Answer
from schemas.api.people import ConsentAnswer
from schemas.fields import Instant, Place
from schemas.recognition import Engine, Face, ModelStamp, Quality
from schemas.scoring import ThresholdSource


class Comparison(Answer):
    """How alike two faces are, and how sure that makes it that they are one person's."""

    similarity: float
    """Cosine of the two templates."""
    score: float
    """What order, decision, `confidence` and rates follow."""
    confidence: float
    """Percent: how probable it is that they are one person's, if half of all probes are of somebody
    enrolled."""
    fmr: float
    """The share of comparisons of two different people that score at least so much."""
    extrapolated: bool
    """The rates lie beyond the calibration's data: the tail of a distribution was taken to go on."""


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
    valid_until: Instant | None
    """From this moment on nobody is matched with the user."""
    consent: ConsentAnswer | None
    already_enrolled: bool = False
    """This very photo was enrolled as this user before; nothing was added."""
    flagged_duplicate: bool = False
    """The company's policy let a face in that resembles another user's: somebody should look."""
    face: Face
    quality: Quality
    """The face's, once more."""
    reference: Comparison | None = None
    """How the photo compares with `reference_image`, where there was one."""
    model: ModelStamp
    engine: Engine | None = None
    """What computed the template; null in what was recorded before this was told."""
    timings_ms: dict[str, float]
    """How long each step took, in milliseconds."""


class Candidate(Comparison):
    """One user whom the probe may be, by the best of the user's faces."""

    face_id: UUID
    """Which of the user's faces is the most similar one."""
    user_id: str
    full_name: str | None
    tags: list[str]
    groups: list[str]
    reference_id: str | None
    metadata: dict[str, JsonValue]
    fpir: float
    """The share of strangers who would be taken for somebody at this score."""
    accepted: bool
    """Whether the threshold is reached. Others are shown only to who investigates."""


class FaceResult(Answer):
    """Who one of several faces is, that nobody is near enough, or (`code`) why it could not be searched
    for."""

    matched: bool
    best: Candidate | None
    """Who it is; null where nobody reached the threshold."""
    candidates: list[Candidate]
    face: Face
    threshold: float | None
    threshold_source: ThresholdSource | None
    code: str | None = None
    """Why the face could not be searched for; null where it was."""
    detail: str | None = None


class SearchResult(Answer):
    """Who the probe is, or that nobody is near enough.

    Where all faces were asked for, this is about the most prominent one that matched (the most prominent one
    if none did), `matched` says whether any did, and `results` tells of each."""

    job_id: UUID
    matched: bool
    """Whether anybody reached the threshold."""
    best: Candidate | None
    """Who it is; null where nobody reached the threshold."""
    candidates: list[Candidate]
    """Those who reached the threshold, the best first; others, too, for who investigates."""
    face: Face
    """The face that was searched for."""
    threshold: float
    """Percent of confidence that a candidate had to reach."""
    threshold_source: ThresholdSource
    """What decided: that confidence, the company's or the request's; or the bound on FPIR, which asked for a
    higher score than the confidence alone."""
    results: list[FaceResult] | None = None
    """With `face=all`: the faces that were searched for, the most prominent first, then the others."""
    gallery_size: int
    """How many users were searched; may be 30 s old. Confidence and rates are reckoned over their faces."""
    model: ModelStamp
    engine: Engine | None = None
    """What computed the templates; null in what was recorded before this was told."""
    timings_ms: dict[str, float]
    """How long each step took, in milliseconds."""


class VerifyResult(Comparison):
    """Whether a photo is of this user, or two photos are of one person."""

    job_id: UUID
    matched: bool
    """Whether the threshold was reached."""
    user_id: str | None
    """The user that was asked about."""
    face_id: UUID | None
    """The most similar of the user's faces."""
    fpir: float
    """The share of strangers who would match at this score: `comparisons` chances of a false match."""
    threshold: float
    """Percent of confidence that had to be reached."""
    threshold_source: ThresholdSource
    """What decided: that confidence, the company's or the request's; or the bound on FPIR, which asked for a
    higher score than the confidence alone."""
    comparisons: int
    """With how many faces the photo's was compared."""
    face: Face
    """The face in the photo."""
    other_face: Face | None
    """The face in the second photo."""
    model: ModelStamp
    engine: Engine | None = None
    """What computed the templates; null in what was recorded before this was told."""
    timings_ms: dict[str, float]
    """How long each step took, in milliseconds."""


class Usability(Answer):
    """Whether a face could be used, or the code of the refusal."""

    usable: bool
    code: str | None = None
    """With which code it would be refused; null where it is usable."""
    detail: str | None = None


class DetectedFace(Face):
    """A face that was found, and what it could be used for by the company's quality policy. What only a
    template tells (`low_template_quality`) is not known here."""

    enrolment: Usability
    """To enrol this face from this photo."""
    probe: Usability
    """To search for it; only the first unless all are asked for."""


class DetectResult(Answer):
    """The faces in a photo, the most prominent first; none is an answer, too."""

    job_id: UUID
    width_px: int
    """The photo's, upright: what boxes and landmarks are measured in."""
    height_px: int
    faces: list[DetectedFace]
    timings_ms: dict[str, float]
    """How long each step took, in milliseconds."""


class DeletionResult(Answer):
    """A face or a person is gone from records, index and photos."""

    job_id: UUID
    faces_deleted: int


class RegroupingResult(Answer):
    """Searches go by the user's present groups."""

    job_id: UUID
    faces_updated: int


class Location(Answer):
    """Where a probe was taken, as the door tells it."""

    device_id: Place | None = None
    """What the access log can be listed by."""
    site: Place | None = None
    latitude: float | None = Field(default=None, ge=-90, le=90)
    """In degrees, north positive."""
    longitude: float | None = Field(default=None, ge=-180, le=180)
    """In degrees, east positive."""
