"""The kinds of fields that requests and answers are made of, and what is right in them."""

import json
import re
import unicodedata
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, PlainSerializer, WithJsonSchema

MAX_LABELS: Final = 50
MAX_METADATA_BYTES: Final = 4096


def instant_text(at: datetime) -> str:
    """A time as answers show it: RFC 3339, UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    PlainSerializer(instant_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A time in an answer."""


def readable(text: str) -> str:
    """Normal form C, without control characters: no name has them, and lists and logs would choke on them."""
    text = unicodedata.normalize("NFC", text)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError("has control characters")
    if text and not text.strip():
        raise ValueError("is blank")
    return text


def _addressable(user_id: str) -> str:
    if user_id in {".", ".."}:
        raise ValueError("can't stand in a path")  # RFC 3986 §5.2.4: clients take dot segments out.
    return user_id


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(readable)]
UserId = Annotated[
    str, Field(min_length=1, max_length=128), AfterValidator(readable), AfterValidator(_addressable)
]
ReferenceId = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(readable)]
Label = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(readable)]
Place = Annotated[str, Field(max_length=128), AfterValidator(readable)]
"""A device or site by its own name: logs and their lists show it, and find it in normal form C."""
Labels = Annotated[tuple[Label, ...], Field(max_length=MAX_LABELS)]


def small_metadata(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Raises ValueError for more than is kept of a person."""
    if len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_METADATA_BYTES:
        raise ValueError(f"is longer than {MAX_METADATA_BYTES} bytes as JSON")
    return metadata


Metadata = Annotated[dict[str, JsonValue], AfterValidator(small_metadata)]

# One @, something on both sides, no blanks: whether the address exists only a message to it could tell.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cs"})
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def _email(text: str) -> str:
    text = unicodedata.normalize("NFC", text.strip())
    # Without what cannot be seen: an address that looks like another must not be one.
    unseen = any(unicodedata.category(character) in _UNSEEN for character in text)
    if unseen or not _EMAIL.fullmatch(text):
        raise ValueError("is not an e-mail address")
    return text


Email = Annotated[str, Field(max_length=254), AfterValidator(_email)]


def _moment(value: Any) -> Any:
    """A date is its first moment in UTC, and so is a time without a zone taken as UTC."""
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            return datetime.combine(date.fromisoformat(value), time(), UTC)
        if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
            at = datetime.fromisoformat(value)
            return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("is neither a date (2026-03-01) nor a time (2026-03-01T09:30:00Z)")


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
    ),
]
"""A date or time that a client gives."""
