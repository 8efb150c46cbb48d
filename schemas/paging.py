"""Opaque cursors: where a listing goes on, tied to the filters that it was begun with.

A cursor is URL-safe base64 of a digest and the keyset position (the sort fields of the last item seen). The
digest covers position, listing and filters, so that a cursor that was cut, changed or carried over to other
filters is refused. It is not a secret and needs no key: a position holds nothing but what the item itself
showed, and every query is scoped to the company of the credential.
"""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from schemas.problems import ProblemError

Value = str | int | float | bool | bytes | UUID | datetime | None
Position = tuple[Value, ...]

_DIGEST_BYTES: Final = 8
_MAX_CURSOR_CHARS: Final = 1024


def encode_cursor(position: Position, listing: str, filters: Mapping[str, object]) -> str:
    """The cursor of a listing's next page. `filters` is what the listing was asked for, limit and cursor
    apart."""
    payload = json.dumps([_tagged(value) for value in position], separators=(",", ":")).encode()
    return urlsafe_b64encode(_digest(payload, listing, filters) + payload).rstrip(b"=").decode("ascii")


def decode_cursor(cursor: str, listing: str, filters: Mapping[str, object]) -> Position:
    """The position that `encode_cursor` was given. Raises `ProblemError("invalid_cursor")` for anything
    else."""
    try:
        return _decoded(cursor, listing, filters)
    except (ValueError, TypeError, RecursionError):
        raise ProblemError("invalid_cursor") from None


def _decoded(cursor: str, listing: str, filters: Mapping[str, object]) -> Position:
    if len(cursor) > _MAX_CURSOR_CHARS:
        raise ValueError("no cursor is so long")
    raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    digest, payload = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if digest != _digest(payload, listing, filters):
        raise ValueError("changed, or of another listing")
    return tuple(_untagged(value) for value in cast(list[Any], json.loads(payload)))


def _digest(payload: bytes, listing: str, filters: Mapping[str, object]) -> bytes:
    given = {name: str(value) for name, value in filters.items() if value is not None}
    context = json.dumps([listing, given], sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(len(context).to_bytes(4, "big") + context + payload).digest()[:_DIGEST_BYTES]


def _tagged(value: Value) -> object:
    match value:
        case datetime():
            return {"time": value.isoformat()}
        case UUID():
            return {"uuid": value.hex}
        case bytes():
            return {"bytes": value.hex()}
        case _:
            return value


def _untagged(value: Any) -> Value:
    if isinstance(value, str):
        value.encode()  # Raises for half a surrogate, which no item has shown and no store can look for.
    if not isinstance(value, dict):
        return value
    ((tag, text),) = cast(dict[str, str], value).items()
    match tag:
        case "time":
            return datetime.fromisoformat(text)
        case "uuid":
            return UUID(text)
        case "bytes":
            return bytes.fromhex(text)
        case _:
            raise ValueError("not a tag of ours")
