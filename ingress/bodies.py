"""Reading what a route takes: each input says what it reads, checks it, and hands the handler its model."""

import asyncio
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import unquote_to_bytes

from aiohttp import HttpVersion11, hdrs, web
from pydantic import BaseModel
from pydantic_core import from_json

from ingress.calls import Call
from ingress.describing import BodyContent, InputDescription
from ingress.validation import invalid_fields, validated
from schemas.api.base import PageQuery
from schemas.problems import FieldError, ProblemError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_JSON_MAX_BYTES: Final = 64 * 1024
_JSON_TIMEOUT_S: Final = 15
_MAX_NAME_CHARS: Final = 64
_MAX_DIGITS: Final = 20
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

BODY_CODES: Final = ("unsupported_content_type", "body_too_large", "malformed_body", "request_timeout")
"""What reading any body may raise."""


class Input(ABC, Generic[T]):
    """What a route takes besides its path."""

    @abstractmethod
    async def read(self, call: Call) -> T:
        """Raises ProblemError for what is not as it should be."""

    @abstractmethod
    def describe(self) -> InputDescription:
        """What `read` takes and raises, for the OpenAPI document."""


class Nothing(Input[None]):
    """No input. A body that is sent nonetheless is not read."""

    async def read(self, call: Call) -> None:
        return None

    def describe(self) -> InputDescription:
        return InputDescription()


class Query(Input[M]):
    """Query parameters, each at most once. Unknown ones are refused: a typing error must not widen a list."""

    def __init__(self, model: type[M]) -> None:
        self.model = model

    async def read(self, call: Call) -> M:
        if not _is_encoded_text(call.request.raw_path.partition("?")[2]):
            raise ProblemError("malformed_request", "The query is not percent-encoded UTF-8.")
        query = call.request.query
        doubled = sorted({name for name in query if len(query.getall(name)) > 1})
        if doubled:
            raise invalid_fields(
                [FieldError(field=name[:_MAX_NAME_CHARS], message="is given twice") for name in doubled]
            )
        return validated(self.model, dict(query))

    def describe(self) -> InputDescription:
        cursor = ("invalid_cursor",) if issubclass(self.model, PageQuery) else ()
        return InputDescription(query=self.model, codes=("invalid_request", *cursor))


class JsonBody(Input[M]):
    """A small JSON object."""

    def __init__(self, model: type[M]) -> None:
        self.model = model

    async def read(self, call: Call) -> M:
        return validated(self.model, await json_body(call.request, ("application/json",)))

    def describe(self) -> InputDescription:
        return InputDescription(
            bodies=(BodyContent("application/json", self.model),), codes=(*BODY_CODES, "invalid_request")
        )


async def json_body(request: web.Request, content_types: Sequence[str]) -> dict[str, Any]:
    """A small JSON object of one of these content types. Raises ProblemError."""
    if request.content_type not in content_types:
        raise ProblemError("unsupported_content_type", f"Send {' or '.join(content_types)}.")
    async with within(_JSON_TIMEOUT_S):
        body = await read_body(request, max_bytes=_JSON_MAX_BYTES)
    return json_object(body)


@asynccontextmanager
async def within(timeout_s: float) -> AsyncGenerator[None]:
    """Bound the reading of a body: who sends it drop by drop must not hold a connection's memory for ever."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise ProblemError("request_timeout", f"The body was not here after {timeout_s:g} s.") from None
    except (web.RequestPayloadError, ConnectionError):
        raise ProblemError("malformed_body") from None  # Cut off, or its transfer encoding is broken.


async def read_body(request: web.Request, *, max_bytes: int) -> bytes:
    """The body, never more of it than `max_bytes` (and what one network read brings) in memory."""
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    await begin_body(request)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(body)


async def begin_body(request: web.Request) -> None:
    """Call before reading: refuses an encoded body, and tells a client that asked first to go on."""
    # Photos don't compress, and what is small needn't: nothing here is decompressed, so no bomb can go off.
    if {encoding.lower() for encoding in request.headers.getall(hdrs.CONTENT_ENCODING, [])} - {"identity"}:
        raise ProblemError("unsupported_content_type", "Send the body without Content-Encoding.")
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # The answer itself has not been begun.


class NameTwice(ValueError):
    """A JSON object has a name more than once. Parsers differ in which of the two they take."""

    def __init__(self, name: str) -> None:
        super().__init__("a name is given twice")
        self.name = name


def json_value(text: bytes | str) -> Any:
    """Parse JSON strictly: no NaN or infinity, no whole number beyond 64 bits, no half surrogates, no name
    twice, no nesting beyond 200. Raises ValueError."""
    value = from_json(text, allow_inf_nan=False)
    # That parser keeps the last of two, and makes infinity of 1e999; this one can be told not to.
    json.loads(text, object_pairs_hook=_named_once, parse_float=_finite, parse_int=_within_64_bits)
    return value


def json_object(body: bytes) -> dict[str, Any]:
    """A body that must be a JSON object. Raises ProblemError."""
    try:
        value = json_value(body)
    except NameTwice as refusal:
        raise invalid_fields(
            [FieldError(field=refusal.name[:_MAX_NAME_CHARS], message="is given twice")]
        ) from None
    except ValueError:
        raise ProblemError("malformed_body", "This is not valid JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise ProblemError("malformed_body", "Send a JSON object.")
    return cast(dict[str, Any], value)


def _is_encoded_text(query: str) -> bool:
    """Whether a query says what it means: what can't be decoded would be searched for as it stands."""
    if _BROKEN_ESCAPE.search(query):
        return False
    try:
        unquote_to_bytes(query).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _named_once(pairs: list[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise NameTwice(name)
        names.add(name)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number


def _within_64_bits(text: str) -> int:
    # What travels in messages has no larger ones, and few clients read them as they were sent.
    number = int(text) if len(text) <= _MAX_DIGITS else None
    if number is None or not -(2**63) <= number < 2**63:
        raise ValueError("a number is out of range")
    return number


def _too_large(max_bytes: int) -> ProblemError:
    return ProblemError("body_too_large", f"Send {max_bytes:,} bytes at most.")
