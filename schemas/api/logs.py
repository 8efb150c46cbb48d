"""The access log as a client sees it."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, JsonValue

from schemas.api.base import Answer, PageQuery, examples
from schemas.fields import Instant, Moment, Place, UserId
from schemas.jobs import JobKind, Outcome

DeviceId = Annotated[Place, Field(min_length=1)]


class LogQuery(PageQuery):
    """Which access-log entries: of one user, of one device (`location.device_id` of a search), of a period
    (`from` inclusive, `to` exclusive), of one outcome; of all that is given, those that fit all of it.

    As JSON a page has at most 500. CSV and NDJSON hold all that fit, or the newest `limit` of them, however
    many.
    """

    model_config = examples(
        {"user_id": "u-1", "from": "2026-03-01", "to": "2026-04-01T00:00:00Z"},
        {"outcome": "not_matched", "device_id": "door-1", "limit": 20},
    )

    limit: int = Field(default=50, ge=1)
    """How many entries at most. JSON: 500; CSV and NDJSON: all, unless told."""
    user_id: UserId | None = None
    """Who was matched or enrolled."""
    from_: Moment | None = Field(default=None, alias="from")
    """Then or later."""
    to: Moment | None = None
    """Before."""
    outcome: Outcome | None = None
    """What came of it."""
    device_id: DeviceId | None = None
    """The `location.device_id` of a search or verification."""


class LogItem(Answer):
    """One attempt at recognition. `user_id` only where somebody was matched or enrolled; percentages as in
    searches."""

    time: Instant
    job_id: UUID
    kind: JobKind
    outcome: Outcome
    code: str | None
    """Why it was refused or failed."""
    user_id: str | None
    """Who was matched or enrolled."""
    other_user_ids: list[str]
    """Who else was matched, where all faces of a photo were asked for."""
    nearest_user_id: str | None
    """Who came nearest without matching; in no list of one user, and for no key that is bound to groups."""
    score: float | None
    similarity: float | None
    confidence: float | None
    """Percent, of the best candidate."""
    threshold: float | None
    """Percent of confidence that had to be reached."""
    location: dict[str, JsonValue] | None
    photo_hash: str | None
    """Tells whether two attempts were made with the very same photo."""
    credential: str
    """The member or API key that asked."""
    correlation_id: str


class LogLine(LogItem):
    """A line of an export. `cursor` is where to go on after it, with the same filters."""

    cursor: str


class LogPage(Answer):
    """Access-log entries, newest first."""

    items: list[LogItem]
    next_cursor: str | None
