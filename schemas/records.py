"""What is stored, but for jobs (`schemas.jobs`) and what was given up (`schemas.letters`): companies,
members, sessions, API keys, users, faces.

Personal fields are ciphertext here (`…_sealed`), sealed and opened by the repositories; what must be found is
found by a keyed hash (`…_hash`). Every record has a version that goes up with each write.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.access import Role, Scope
from schemas.policies import CompanyPolicies
from schemas.recognition import Box, Engine, Landmarks, ModelStamp, Quality


class Record(BaseModel):
    """A stored record: immutable, replaced as a whole, found by (company, id)."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    id: str
    version: int = 1


class CompanyState(StrEnum):
    """A closed company has no key any more, no credential of it works, and all that it had is cleared away;
    its own record goes last."""

    ACTIVE = "active"
    CLOSED = "closed"


class StepDown(BaseModel):
    """A member who is being taken out of the admins. Until that is done, nobody counts them as one again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    member_id: str
    begun_at: datetime


class Company(Record):
    """A tenant. Its `id` is the company id in text."""

    state: CompanyState = CompanyState.ACTIVE
    name_sealed: bytes
    created_at: datetime
    closed_at: datetime | None = None
    paused_at: datetime | None = None
    """Since when the operator lets it hand in no photos; None while it may."""
    policies: CompanyPolicies = CompanyPolicies()
    drops_photos: bool = False
    """It has ceased to keep photos, and those that it kept are not all deleted yet."""
    model: ModelStamp
    """The model whose templates the company's gallery is made of."""
    admin_ids: tuple[str, ...] = Field(min_length=1)
    """Admins who can log in, never none: this record alone decides who is the last one
    (`infra.repositories.admins`)."""
    stepping_down: tuple[StepDown, ...] = ()


class Login(Record):
    """Finds the account of an e-mail address before its company is known. Kept under PLATFORM; its id is a
    keyed hash."""

    company_id: UUID
    member_id: str


class Member(Record):
    """A person who logs in. The password is kept as an argon2id hash only; None until one is set."""

    email_sealed: bytes
    email_hash: str
    """The id of the member's log-in look-up, which must be found when the company's key is gone."""
    name_sealed: bytes | None = None
    password_hash: str | None
    role: Role
    epoch: int = 1
    """Goes up when the password changes or is voided: sessions that were begun before are then void."""
    set_password_hash: bytes | None = None
    """The digest of the token that may set a password, once."""
    set_password_until: datetime | None = None
    created_at: datetime
    created_by: str | None = None
    """The credential that invited the member; None for who registered the company."""


class Session(Record):
    """One log-in and the family of refresh tokens that descends from it; only hashes of tokens are kept."""

    member_id: str
    epoch: int
    """The member's when the session was opened; it counts for as long as the two are equal."""
    refresh_hash: bytes
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None


class ApiKey(Record):
    """What a machine signs its requests with; only digests of its secrets are kept."""

    name_sealed: bytes
    scopes: tuple[Scope, ...]
    groups: tuple[str, ...] | None
    """The only groups of users that the key has to do with; None for all."""
    digest: bytes
    last_four: str
    """The end of the secret as it was shown, to tell keys apart: part of its checksum, no part of its 256
    random bits."""
    previous_digest: bytes | None = None
    """The secret before the last rotation, which works until `previous_until`."""
    previous_until: datetime | None = None
    created_at: datetime
    created_by: str
    rotated_at: datetime | None = None
    rotation_id: str | None = None
    """Of the last rotation: one that is sent again must not push out the secret that is in use."""
    expires_at: datetime | None


class Consent(BaseModel):
    """That a person agreed to being recognised: when, to which text, and which credential wrote it down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    given_at: datetime
    text_version: str
    recorded_by: str


class UserState(StrEnum):
    """An erased user is kept as an empty shell that carries the epoch until every message in flight is
    outlived."""

    ACTIVE = "active"
    ERASED = "erased"


class User(Record):
    """A person who may be recognised. The `id` is the keyed hash of the company's own id for them."""

    state: UserState
    epoch: int
    """Goes up when the person is erased: what was begun before is then void."""
    user_id_sealed: bytes | None
    full_name_sealed: bytes | None = None
    full_name_hash: str | None = None
    """Of the name in whatever letter case."""
    reference_id_sealed: bytes | None = None
    reference_hash: str | None = None
    metadata_sealed: bytes | None = None
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    valid_until: datetime | None = None
    """From this moment on nobody is matched with the user."""
    consent: Consent | None = None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None

    def is_expired(self, at: datetime) -> bool:
        return self.valid_until is not None and self.valid_until <= at

    def may_be_matched(self, at: datetime, policies: CompanyPolicies) -> bool:
        """Whether a face may be said to be this user's: they are still valid, and have agreed where the
        company asks for it."""
        agreed = self.consent is not None or not policies.consent_required
        return self.state is UserState.ACTIVE and agreed and not self.is_expired(at)


class FaceState(StrEnum):
    """A deleted face leaves an empty tombstone, so that its change number is never used again."""

    ACTIVE = "active"
    DELETED = "deleted"


class FaceRecord(Record):
    """The truth about one enrolled face; the index entry is derived from it. The `id` is derived from the
    job's.

    `change` is unique in the company and only goes up: enrolling takes the next number, and so does every
    later change of the record that the index must hear of. So "everything up to n" is well defined.
    """

    change: int
    state: FaceState
    job_id: str | None
    user_hash: str | None
    epoch: int
    model: ModelStamp
    template_sealed: bytes | None
    photo_hash: str | None
    photo_key: str | None = None
    reference_photo_key: str | None = None
    box: Box | None
    landmarks: Landmarks | None
    quality: Quality | None
    detection_confidence: float | None
    created_at: datetime
    enrolled_by: str | None
    deleted_at: datetime | None = None


class IndexMark(Record):
    """How far the index is known to be safe on disk: every change of the company up to `change` is in it.

    The `id` is the index collection's name and, where it may be made anew beside the one in use, its
    edition."""

    change: int


class Attempts(Record):
    """How often work on a message was begun after a takeover; the `id` names the message."""

    count: int
    expires_at: datetime


class Claim(Record):
    """What an `Idempotency-Key` stands for: the request that it came with, and what came of it. The `id` is a
    keyed hash of the key and of whose it is."""

    fingerprint: str
    """Keyed hash of method, route and parsed fields."""
    made_id: UUID
    """What the request makes has this id, known before any of it is made: a job's, if it is a job."""
    claimed_at: datetime
    """When the request was last taken up."""
    free: bool = False
    """The request could not be answered (429, 5xx): the next one under the key begins at once."""
    accepted: bool = False
    """The request was answered with 202: its job is known to run."""
    secret_shown: bool = False
    """The answer held a secret, and is not kept."""
    answer_sealed: bytes | None = None
    """The answer where no job's record has it."""
    expires_at: datetime


class Turn(Record):
    """When one of the processes last took on what one of them is enough for; the `id` names the work."""

    taken_at: datetime


class WorkerSign(Record):
    """That a worker process lives: it writes the record anew every few seconds, so that its version moves.
    The `id` is the process's."""

    roles: tuple[str, ...]
    parts: dict[str, str]
    """`ready`, or what it is instead, of each part that only the worker sees."""
    engines: tuple[Engine, ...] = ()
    """What it computes templates with."""
    seen_at: datetime
    expires_at: datetime


class Migration(Record):
    """That a company is being copied here from another installation, or was. Its own record (`Company`) comes
    last: until that is there, nothing of it counts. The `id` is the company's."""

    origin: str
    """Tells installations apart: a hash of where the other keeps its records."""
    begun_at: datetime
    finished_at: datetime | None = None
    counts: dict[str, int] = Field(default_factory=dict[str, int])
    """How many of each the check has found, on both sides the same."""
