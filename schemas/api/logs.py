"""The access log as a client sees it."""

from uuid import UUID

from pydantic import BaseModel, Field, JsonValue

from schemas.api.base import PageQuery
from schemas.fields import Instant, Moment, UserId
from schemas.jobs import JobKind, Outcome


class LogQuery(PageQuery):
    """Which access-log entries: of one user, of a period (`from` inclusive, `to` exclusive), of one
    outcome."""

    user_id: UserId | None = None
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None
    outcome: Outcome | None = None


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
