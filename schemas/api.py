"""What clients send and get, besides the results of jobs (`schemas.results`) and problems
(`schemas.problems`)."""

from typing import Annotated, ClassVar, Final, Literal
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from schemas.fields import (
    MAX_LABELS,
    Email,
    Instant,
    Label,
    Labels,
    Metadata,
    Moment,
    Name,
    ReferenceId,
    UserId,
)
from schemas.jobs import JobKind, JobState, Outcome
from schemas.messages import EnrolmentFields, SearchFields
from schemas.recognition import Box, ModelStamp, Quality
from schemas.results import Location
from schemas.scoring import parse_threshold

_MIN_DIFFERENT_CHARACTERS: Final = 5


class Request(BaseModel):
    """The base of what clients send: a field that is not known is refused, since a typing error in one that
    narrows (a threshold, a group) must not open a door."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class RegisterRequest(Request):
    """A company and its first admin.

    Passwords follow NIST SP 800-63B-3 §5.1.1.2: length counts and composition does not, every character is
    welcome, and what an attacker tries first is refused. Where it asks for 8 characters, 12 are asked for
    here.
    """

    company_name: Name
    email: Email
    password: Annotated[SecretStr, Field(min_length=12, max_length=256)]

    @field_validator("password")
    @classmethod
    def _not_the_first_guess(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        text = password.get_secret_value().casefold()
        given = [str(info.data[name]).casefold() for name in ("company_name", "email") if name in info.data]
        if text in given or len(set(text)) < _MIN_DIFFERENT_CHARACTERS:
            raise ValueError("is too easily guessed")
        return password


class LoginRequest(Request):
    """What POST /register was given."""

    email: Annotated[str, Field(max_length=254)]
    password: Annotated[SecretStr, Field(max_length=256)]


class RefreshRequest(Request):
    """The refresh token of the last answer; it works once."""

    refresh_token: Annotated[SecretStr, Field(max_length=512)]


class RegisterAnswer(BaseModel):
    """The new company and its first admin."""

    company_id: UUID
    member_id: str


class TokenAnswer(BaseModel):
    """An access token response as RFC 6749 §5.1 has it."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the type's name, no secret
    expires_in: int
    """Seconds that the access token has to live."""
    refresh_token: str


class PhotoRequest(Request):
    """The base of what comes with a photo (`image`): as form fields, or as members of a JSON object.

    In a form everything is text. `form_lists` may be repeated fields, `name[]`, or one JSON array;
    `form_objects` are JSON.
    """

    form_lists: ClassVar[frozenset[str]] = frozenset()
    form_objects: ClassVar[frozenset[str]] = frozenset()


class EnrolRequest(PhotoRequest):
    """Whose face it is. What is left out stays as the user's record has it."""

    form_lists: ClassVar[frozenset[str]] = frozenset({"tags", "groups"})
    form_objects: ClassVar[frozenset[str]] = frozenset({"metadata"})

    user_id: UserId
    full_name: Name | None = None
    tags: Labels | None = None
    groups: Labels | None = None
    reference_id: ReferenceId | None = None
    metadata: Metadata | None = None

    def fields(self) -> EnrolmentFields:
        return EnrolmentFields(**self.model_dump())


def _threshold(value: object) -> float | None:
    return None if value is None else parse_threshold(value)


class SearchRequest(PhotoRequest):
    """Where to look, how sure to be, and where the photo was taken."""

    form_lists: ClassVar[frozenset[str]] = frozenset({"groups"})
    form_objects: ClassVar[frozenset[str]] = frozenset({"location"})

    threshold: Annotated[float | None, BeforeValidator(_threshold)] = None
    """Percent of confidence that a candidate must reach; stricter than the company's policy, or equal to
    it."""
    groups: Annotated[tuple[Label, ...], Field(min_length=1, max_length=MAX_LABELS)] | None = None
    """Only users of one of these groups are searched."""
    limit: int = Field(default=1, ge=1, le=50)
    location: Location | None = None

    def fields(self) -> SearchFields:
        return SearchFields(
            threshold_percent=self.threshold, groups=self.groups, limit=self.limit, location=self.location
        )


class PageQuery(Request):
    """The base of what listings take."""

    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = None

    def filters(self) -> dict[str, object]:
        """What narrows the listing: what a cursor is tied to."""
        return self.model_dump(exclude={"limit", "cursor", "wait"})


class LogQuery(PageQuery):
    """Which access-log entries: of one user, of a period (`from` inclusive, `to` exclusive), of one
    outcome."""

    user_id: UserId | None = None
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None
    outcome: Outcome | None = None


Wait = Annotated[float, Field(ge=0)]
"""Seconds to wait; the server's own bound applies where it is lower."""


class JobQuery(Request):
    """Whether to wait for the job's end."""

    wait: Wait = 0


class JobsQuery(PageQuery):
    """The jobs of one correlation id; with `wait`, when there is one and all have ended."""

    correlation_id: str = Field(min_length=1, max_length=128)
    wait: Wait = 0


class JobAnswer(BaseModel):
    """A job: how far it is, and what came of it (`result` or `problem`) for as long as that is kept."""

    job_id: UUID
    kind: JobKind
    state: JobState
    created_at: Instant
    ended_at: Instant | None
    correlation_id: str
    result: dict[str, JsonValue] | None = None
    problem: dict[str, JsonValue] | None = None


class FaceAnswer(BaseModel):
    """An enrolled face and whose it is; never the template."""

    face_id: UUID
    user_id: str
    full_name: str | None
    groups: list[str]
    tags: list[str]
    quality: Quality | None
    box: Box | None
    model: ModelStamp
    created_at: Instant
    enrolled_by: str | None
    has_photo: bool


class LogItem(BaseModel):
    """One attempt at recognition. `user_id` only where somebody was matched or enrolled; percentages as in
    searches."""

    time: Instant
    job_id: UUID
    kind: JobKind
    outcome: Outcome
    code: str | None
    user_id: str | None
    nearest_user_id: str | None
    """Who came nearest without matching; in no list of one user."""
    score: float | None
    similarity: float | None
    confidence: float | None
    threshold: float | None
    location: dict[str, JsonValue] | None
    photo_hash: str | None
    credential: str
    correlation_id: str


class LogPage(BaseModel):
    """Access-log entries, newest first."""

    items: list[LogItem]
    next_cursor: str | None


class JobPage(BaseModel):
    """Jobs, newest first."""

    items: list[JobAnswer]
    next_cursor: str | None


class HealthAnswer(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadinessAnswer(BaseModel):
    """Whether requests can be served, and the state of each part: `ready`, or what it is instead."""

    ready: bool
    parts: dict[str, str]


class ProblemPage(BaseModel):
    """What a code means and what to do about it."""

    code: str
    status: int
    title: str
    remedy: str
