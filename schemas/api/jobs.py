"""Jobs as a client sees them."""

from uuid import UUID

from pydantic import Field, JsonValue

from schemas.api.base import Answer, PageQuery, Request, Wait, examples
from schemas.fields import Instant, Moment
from schemas.jobs import JobKind, JobState


class JobQuery(Request):
    """Whether to wait for the job's end."""

    model_config = examples({"wait": 10})

    wait: Wait = 0
    """Seconds to wait for the end; the server's own bound applies where it is lower."""


class JobsQuery(PageQuery):
    """Which jobs: of one correlation id, of one kind or state, submitted in a period (`from` inclusive, `to`
    exclusive). With `wait`, which needs a correlation id: when there is one and all have ended."""

    model_config = examples(
        {"correlation_id": "door-7-0001", "limit": 10},
        {"kind": "enroll", "state": "succeeded", "from": "2026-03-01"},
    )

    correlation_id: str | None = Field(default=None, min_length=1, max_length=128)
    """The `X-Correlation-ID` that it was submitted with."""
    kind: JobKind | None = None
    """What was to be done."""
    state: JobState | None = None
    """How far it is."""
    from_: Moment | None = Field(default=None, alias="from")
    """Submitted then or later."""
    to: Moment | None = None
    """Submitted before."""
    wait: Wait = 0
    """Seconds to wait for the end; the server's own bound applies where it is lower."""


class JobAnswer(Answer):
    """A job: how far it is, and what came of it (`result` or `problem`) for as long as that is kept."""

    job_id: UUID
    kind: JobKind
    state: JobState
    created_at: Instant
    ended_at: Instant | None
    """Null while it is queued."""
    correlation_id: str
    result: dict[str, JsonValue] | None = None
    """What the call that waited for it would have answered, as far as the credential may read it."""
    problem: dict[str, JsonValue] | None = None
    """The problem that the call would have answered."""


class JobPage(Answer):
    """Jobs, newest first."""

    items: list[JobAnswer]
    next_cursor: str | None
