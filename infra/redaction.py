"""What a log line may not say: secrets and people, taken out by name and by looks; exceptions without their
data.

It fails closed: what isn't known to be harmless is left out. It is the last line of defence, not a licence
to log a secret and rely on it.
"""

import errno
import re
import traceback
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from enum import Enum
from itertools import islice
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Final, cast
from uuid import UUID

MASK: Final = "[redacted]"

_SENSITIVE_WORDS: Final = frozenset(
    {
        *("password", "passphrase", "secret", "token", "key", "credential", "credentials", "cookie"),
        *("authorization", "bearer", "email", "name", "user", "reference", "phone", "address", "metadata"),
        *("location", "latitude", "longitude", "photo", "image", "template", "embedding", "vector", "probe"),
        *("body", "payload", "header", "headers", "query", "url", "uri", "params", "args", "form"),
    }
)
_UNITS: Final = frozenset({"bytes", "count", "s", "ms", "pixels", "version"})
"""A number under a key that ends so is a measure (`photo_bytes`), whatever it measures."""

_SEARCHED_CHARS: Final = 4096
_SHOWN_CHARS: Final = 1000
_MAX_ITEMS: Final = 20
_MAX_DEPTH: Final = 4
_MAX_FRAMES: Final = 20

_SECRETS: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # JWT
    r"|\b(?:fid|frt|spt)_[A-Za-z0-9]{8,}"  # our API keys, refresh and set-password tokens
    r"|\$argon2\S+"
    r"|\b(?:bearer|basic)\s+[\w.~+/=-]{8,}"
    r"|(?<=://)[^/\s@]{1,256}@"  # a password in a URL
    r"|[^\s@<>\"'=:/]{1,64}@[^\s@<>\"']{1,255}",  # an e-mail address
    re.DOTALL | re.IGNORECASE,
)
_UUID: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)
# Hexadecimal or base64 of 30 bytes or more. A digit or a capital is asked for, since long names are words.
_ENCODED: Final = re.compile(r"(?=[a-z+/_=-]*[A-Z0-9])[A-Za-z0-9+/_=-]{40,}")

_OUR_PACKAGES: Final = frozenset({"schemas", "infra", "workers", "ingress", "scripts"})
_PROJECT: Final = f"{Path(__file__).resolve().parent.parent}/"


def redact_text(text: str, *, opaque_allowed: bool = False) -> str:
    """Mask what looks like a secret or an e-mail address, and cut what is long.

    UUIDs stay. `opaque_allowed` lets long random-looking runs stay too: a client's correlation id is one.
    """
    text = _SECRETS.sub(MASK, text[:_SEARCHED_CHARS])
    if not opaque_allowed:
        parts = _UUID.split(text)  # Every second part is a UUID.
        text = "".join(part if index % 2 else _ENCODED.sub(MASK, part) for index, part in enumerate(parts))
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def redact(key: str, value: object, depth: int = 0) -> object:
    """The value as it may be logged under that key: plain JSON types, masked, cut to size."""
    if _is_sensitive(key, value):
        return MASK
    if isinstance(value, Enum):
        value = cast(object, value.value)
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return redact_text(value, opaque_allowed=key == "correlation_id")
        case UUID() | date() | timedelta():
            return str(value)
        case PurePath():
            return redact_text(str(value))
        case BaseException():
            return _title(value)
        case bytes() | bytearray():
            return f"[{len(value)} bytes]"
        case _:
            return _redact_container(value, depth)


def _redact_container(value: object, depth: int) -> object:
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            items = islice(cast(Mapping[object, object], value).items(), _MAX_ITEMS)
            return {redact_text(str(name)): redact(str(name), item, depth + 1) for name, item in items}
        if isinstance(value, list | tuple | set | frozenset):
            return [redact("", item, depth + 1) for item in islice(cast(Iterable[object], value), _MAX_ITEMS)]
    return f"[{type(value).__name__}]"  # Anything else could carry anything.


def describe_exception(error: BaseException, depth: int = 0) -> dict[str, Any]:
    """An exception as it may be logged: types, our codes, where it came from; then its causes.

    Only our own errors are quoted, whose messages are free of data by rule; a library's may repeat the
    value that it choked on. Local variables and source lines stay out.
    """
    described: dict[str, Any] = {"type": _type_name(error)}
    code = getattr(error, "code", None)
    if _is_ours(error):
        if isinstance(code, str):
            described["code"] = code
        described["message"] = redact_text(str(error))
    elif isinstance(error, OSError) and error.errno is not None:
        described["errno"] = errno.errorcode.get(error.errno, str(error.errno))
    described["frames"] = _frames(error.__traceback__)
    if depth < _MAX_DEPTH:
        if isinstance(error, BaseExceptionGroup):
            group = cast(BaseExceptionGroup[BaseException], error)
            described["exceptions"] = [
                describe_exception(one, depth + 1) for one in group.exceptions[:_MAX_ITEMS]
            ]
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            described["cause"] = describe_exception(cause, depth + 1)
    return described


def _is_sensitive(key: str, value: object) -> bool:
    words = re.split(r"[^a-z0-9]+", key.lower())
    if words[-1] in _UNITS and isinstance(value, int | float):
        return False
    return not _SENSITIVE_WORDS.isdisjoint(words)


def _title(error: BaseException) -> str:
    code = getattr(error, "code", None)
    return f"{_type_name(error)} ({code})" if _is_ours(error) and isinstance(code, str) else _type_name(error)


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in _OUR_PACKAGES


def _frames(trace: TracebackType | None) -> list[str]:
    walked = list(traceback.walk_tb(trace))[-_MAX_FRAMES:]
    return [f"{_short(frame.f_code.co_filename)}:{line} {frame.f_code.co_qualname}" for frame, line in walked]


def _short(filename: str) -> str:
    return filename.rpartition("site-packages/")[2].removeprefix(_PROJECT)
