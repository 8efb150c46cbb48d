"""What happened, told to those who follow: the audit trail now, webhooks from the same write."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, JsonValue

from schemas.records import Record


class Event(BaseModel):
    """Something that happened, carried by the job's terminal write. `data` holds ids, hashes, codes and
    figures only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Derived from the job's id and the type, so that telling it twice is telling it once."""
    type: str
    occurred_at: datetime
    data: dict[str, JsonValue]


class AuditEvent(Record):
    """An event as the audit trail keeps it. The `id` is the event's."""

    type: str
    occurred_at: datetime
    job_id: str | None
    actor: str
    correlation_id: str
    data: dict[str, JsonValue]
