"""Which collections there are, and by what each can be searched."""

from typing import Any, Final

from infra.documents.port import Collection, Index
from schemas.events import AuditEvent
from schemas.jobs import JobRecord
from schemas.letters import DeadLetter, UnreadMessage
from schemas.records import (
    ApiKey,
    Attempts,
    Claim,
    Company,
    FaceRecord,
    IndexMark,
    Login,
    Member,
    Migration,
    Session,
    Turn,
    User,
    WorkerSign,
)

COMPANIES: Final = Collection("companies", Company, (Index(("state",)), Index(("drops_photos",))))
LOGINS: Final = Collection("logins", Login)
MEMBERS: Final = Collection("members", Member, (Index(("created_at",)),))
SESSIONS: Final = Collection("sessions", Session, expires_field="expires_at")
API_KEYS: Final = Collection("api_keys", ApiKey, (Index(("created_at",)),))
USERS: Final = Collection(
    "users",
    User,
    (
        Index(("state", "created_at")),
        # What a listing is narrowed by, each newest first: about 80 bytes a user, and as many for each group
        # and tag of theirs. Further filters are applied to what one of these finds.
        Index(("state", "groups", "created_at")),
        Index(("state", "tags", "created_at")),
        Index(("reference_hash", "created_at")),
        Index(("full_name_hash", "created_at")),
    ),
    expires_field="expires_at",
)
FACES: Final = Collection(
    "faces",
    FaceRecord,
    (
        # The next number is taken by inserting it: two deciders can't both succeed.
        Index(("change",), unique=True),
        Index(("user_hash", "state", "created_at")),
        Index(("state", "user_hash")),
        Index(("state", "created_at")),
    ),
)
JOBS: Final = Collection(
    "jobs",
    JobRecord,
    (
        Index(("state", "created_at")),
        Index(("events_pending", "ended_at")),
        Index(("correlation_id", "created_at")),
        Index(("kind", "state", "created_at")),
        Index(("submitted_by", "created_at")),
        Index(("logged", "created_at")),
        Index(("outcome", "created_at")),
        # All other lists of the access log: one stretch for each outcome, merged where none is asked for.
        Index(("log_filters", "outcome", "created_at")),
        Index(("mentions",)),
        Index(("result_expires_at",)),
    ),
    expires_field="expires_at",
)
AUDIT_EVENTS: Final = Collection("audit_events", AuditEvent, (Index(("occurred_at",)),))
INDEX_MARKS: Final = Collection("index_marks", IndexMark)
DEAD_LETTERS: Final = Collection(
    "dead_letters", DeadLetter, (Index(("mentions",)),), expires_field="expires_at"
)
UNREAD_MESSAGES: Final = Collection("unread_messages", UnreadMessage, expires_field="expires_at")
ATTEMPTS: Final = Collection("attempts", Attempts, expires_field="expires_at")
CLAIMS: Final = Collection("claims", Claim, expires_field="expires_at")
TURNS: Final = Collection("turns", Turn)
WORKER_SIGNS: Final = Collection("worker_signs", WorkerSign, expires_field="expires_at")
MIGRATIONS: Final = Collection("migrations", Migration)

ALL: Final[tuple[Collection[Any], ...]] = (
    COMPANIES,
    LOGINS,
    MEMBERS,
    SESSIONS,
    API_KEYS,
    USERS,
    FACES,
    JOBS,
    AUDIT_EVENTS,
    INDEX_MARKS,
    DEAD_LETTERS,
    UNREAD_MESSAGES,
    ATTEMPTS,
    CLAIMS,
    TURNS,
    WORKER_SIGNS,
    MIGRATIONS,
)
