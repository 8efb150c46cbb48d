"""A job: what was asked for, how it ended, and, for an attempt at recognition, the access-log entry that it
is."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from schemas.events import Event
from schemas.records import Record


class JobKind(StrEnum):
    """What a job is to do."""

    ENROLL = "enroll"
    SEARCH = "search"
    VERIFY = "verify"
    DETECT = "detect"
    DELETE_FACE = "delete_face"
    ERASE_USER = "erase_user"
    REGROUP_USER = "regroup_user"


ATTEMPT_KINDS = frozenset({JobKind.ENROLL, JobKind.SEARCH, JobKind.VERIFY})
"""The kinds that are an attempt at recognition, each of which is one access-log entry. Detection identifies
nobody."""


FAILED_EVENTS: Final = {
    JobKind.SEARCH: "search.failed",
    JobKind.VERIFY: "verify.failed",
    JobKind.DETECT: "detect.failed",
    JobKind.ENROLL: "face.enroll_failed",
    JobKind.DELETE_FACE: "face.delete_failed",
    JobKind.ERASE_USER: "user.erase_failed",
    JobKind.REGROUP_USER: "user.regroup_failed",
}
"""What is told of a job of each kind that has failed or was refused."""


class JobState(StrEnum):
    """Queued until its one terminal write."""

    QUEUED = "queued"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class Outcome(StrEnum):
    """What the access log says of an attempt."""

    MATCHED = "matched"
    NOT_MATCHED = "not_matched"
    ENROLLED = "enrolled"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"


class JobRecord(Record):
    """A job and, once ended, its result and log entry. The `id` is the job id.

    `wrapped_key` is the job's own key under the company's; the terminal write removes it, and with it the
    possibility of reading the job's messages.
    """

    kind: JobKind
    state: JobState
    created_at: datetime
    replays: int = 0
    """How often it was put back into the queue after it had been given up, and"""
    replayed_at: datetime | None = None
    """when that was last done."""
    deadline_at: datetime | None
    """When a job that nobody has done is dropped; None for those that are always done."""
    ended_at: datetime | None = None
    submitted_by: str
    correlation_id: str
    reply_to: str | None = None
    wrapped_key: bytes | None
    blob_key: str | None = None
    """The object that holds the photo when it does not travel inline."""
    subject_user_hash: str | None = None
    """Whom the job is about (enrolment, verification, erasure): keyed hash of the user id; dropped by
    erasure."""
    subject_epoch: int = 0
    subject_face_id: str | None = None
    """Which face the job deletes."""
    mentions: tuple[str, ...] = ()
    """Every user whom the record speaks of, by hash: in no list, but erasure must find them all."""
    log_sealed: bytes | None = None
    """The personal part of the log entry (`LogDetails`), sealed. Of a job that has not ended: what is known
    of it already."""

    # Written by the terminal write only.
    logged: bool = False
    """Whether the record is an access-log entry: an attempt at recognition that has ended."""
    outcome: Outcome | None = None
    code: str | None = None
    http_status: int | None = None
    result_sealed: bytes | None = None
    """The answer's body (result or problem) as JSON, sealed."""
    events: tuple[Event, ...] = ()
    events_pending: bool = False
    photo_hash: str | None = None
    log_user_hashes: tuple[str, ...] = ()
    """Who was matched or enrolled, the most prominent face's user first: in whose lists the entry is."""
    log_filters: tuple[str, ...] = ()
    """What the entry can be listed by: a keyed hash for each combination of user, device and API key."""
    score: float | None = None
    similarity: float | None = None
    confidence_percent: float | None = None
    threshold_percent: float | None = None
    result_expires_at: datetime | None = None
    expires_at: datetime | None = None


class LogDetails(Record):
    """The personal part of a log entry, sealed inside its job record; the `id` is the job's."""

    user_id: str | None = None
    other_user_ids: tuple[str, ...] = ()
    """Who else was matched, where all faces of a photo were asked for."""
    nearest_user_id: str | None = None
    location: dict[str, JsonValue] | None = None
