"""What travels through the broker: a readable header, and a body that only the job's key opens.

On the wire: `FID` and a format digit, the header's length (4 bytes, big-endian), the header as JSON, the
sealed body. The body's plaintext is msgpack, so that photos and templates travel as raw bytes. The header is
bound to the body as associated data: it can be read without a key, but not changed.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Self, cast
from uuid import UUID

import msgpack
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from schemas.jobs import JobKind
from schemas.recognition import Engine, Face, FaceChoice
from schemas.records import Consent
from schemas.results import Comparison, Location

_MAGIC: Final = b"FID1"
_LENGTH_BYTES: Final = 4
_MAX_HEADER_BYTES: Final = 64 * 1024

SCHEMA_VERSION: Final = 1


class MessageUnreadable(ValueError):
    """These bytes are not a message of a version that this program reads."""


class MessageHeader(BaseModel):
    """What a consumer must know before it can open the body. Names nobody.

    A field that a later version adds is passed over here; what must not be passed over raises the version.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA_VERSION
    type: str
    company_id: UUID
    job_id: UUID
    kind: JobKind
    created_at: datetime
    correlation_id: str
    reply_to: str | None
    traceparent: str | None = None
    """The span that sent the message (W3C Trace Context), where requests are traced; else it is not there at
    all."""
    engine: Engine | None = None
    """What computed the template in the body; without one, it is not there at all."""


def encode_message(header: MessageHeader, seal: Callable[[bytes], bytes]) -> bytes:
    """Frame a message. `seal(associated_data)` answers the sealed body for the header's exact bytes."""
    prefix = _prefix(header)
    return prefix + seal(prefix)


def decode_message(value: bytes) -> tuple[MessageHeader, bytes, bytes]:
    """Split a message into its header, the bytes that are associated data, and the sealed body."""
    text, end = _header_of(value)
    try:
        header = MessageHeader.model_validate_json(text)
    except ValidationError as error:
        raise MessageUnreadable("the header is not of a known form") from error
    if header.schema_version != SCHEMA_VERSION:
        raise MessageUnreadable(f"schema version {header.schema_version} is not known")
    return header, value[:end], value[end:]


def job_named(value: bytes) -> tuple[UUID, UUID] | None:
    """The company and the job that a message of whatever version names; None if it names none. That is all
    that may be read of one which `decode_message` refuses, and for giving it up alone."""
    try:
        text, _ = _header_of(value)
        named = _JobNamed.model_validate_json(text)
    except (MessageUnreadable, ValidationError):
        return None
    return named.company_id, named.job_id


class _JobNamed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    company_id: UUID
    job_id: UUID


def _header_of(value: bytes) -> tuple[bytes, int]:
    """A message's header, and where it ends. Raises MessageUnreadable."""
    start = len(_MAGIC) + _LENGTH_BYTES
    if len(value) < start or not value.startswith(_MAGIC):
        raise MessageUnreadable("not a message of this service")
    length = int.from_bytes(value[len(_MAGIC) : start], "big")
    if length > _MAX_HEADER_BYTES or len(value) < start + length:
        raise MessageUnreadable("the header is cut off")
    return value[start : start + length], start + length


def _prefix(header: MessageHeader) -> bytes:
    untold = {name for name in ("traceparent", "engine") if getattr(header, name) is None}
    text = header.model_dump_json(exclude=untold).encode()
    return _MAGIC + len(text).to_bytes(_LENGTH_BYTES, "big") + text


class Body(BaseModel):
    """The base of message bodies: packed as msgpack, raw bytes staying raw."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def pack(self) -> bytes:
        return msgpack.packb(_plain(self.model_dump(mode="python")), use_bin_type=True)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        try:
            return cls.model_validate(msgpack.unpackb(packed, raw=False))
        except (ValueError, msgpack.UnpackException) as error:
            raise MessageUnreadable("the body is not of a known form") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return value


class EnrolmentFields(BaseModel):
    """What an enrolment says of the person. None leaves what the user's record says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_id: str
    full_name: str | None = None
    tags: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    reference_id: str | None = None
    metadata: dict[str, JsonValue] | None = None
    valid_until: datetime | None = None
    consent: Consent | None = None
    within_groups: tuple[str, ...] | None = None
    """The only groups that the credential has to do with, None for all: it enrols nobody who has none of
    them, gives and takes no others, and whom it enrols anew has all of them unless told otherwise."""


class SearchFields(BaseModel):
    """What a search asks for, besides its photo, and what whoever asks may see: the ingress has decided that
    from the credential."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold_percent: float | None = None
    groups: tuple[str, ...] | None = None
    limit: int = 1
    location: Location | None = None
    face: FaceChoice = "largest"
    may_loosen: bool = False
    """A threshold below the company's counts."""
    investigate: bool = False
    """Candidates below the threshold are shown."""


class VerifyFields(BaseModel):
    """What a verification asks for, besides its photos. Against whom is in the job's record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold_percent: float | None = None
    groups: tuple[str, ...] | None = None
    """The user counts only with one of these."""
    location: Location | None = None
    may_loosen: bool = False


class Photos(Body):
    """A job's blob: its photos, when they do not travel inline."""

    photo: bytes
    second: bytes | None = None


class PhotoBody(Body):
    """`search` and `enroll`: the photo (None when it is in the job's blob) and what to do with it. A photo
    with nothing else is to be looked at only (detection).

    `second` is what the photo is compared with: the reference of an enrolment, the other photo of a
    verification."""

    photo: bytes | None
    second: bytes | None = None
    enrolment: EnrolmentFields | None = None
    search: SearchFields | None = None
    verify: VerifyFields | None = None


class TemplateBody(Body):
    """`templates`, from the face worker: one embedded face to decide about."""

    template: bytes
    """float32, little-endian, L2-normalised."""
    face: Face
    enrolment: EnrolmentFields
    photo_hash: str
    photo_key: str | None
    timings_ms: dict[str, float]
    reference: Comparison | None = None
    """How the face compares with the reference photo's, where there was one."""
    reference_photo_key: str | None = None


class RegroupingBody(Body):
    """`templates`, from an ingress: bring a user's index entries in line with the groups of the user's
    record."""

    user_hash: str


class RemovalBody(Body):
    """`templates`, from an ingress: clear a face, or all of a user, that the records already deny."""

    face_id: str | None = None
    user_hash: str | None = None
