"""multipart/form-data (RFC 7578), read as it comes: fields in any order, the photo within its limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from aiohttp import BodyPartReader, hdrs, web
from aiohttp.http import HttpProcessingError

from ingress.bodies import begin_body, json_value
from ingress.validation import invalid_fields
from schemas.api.photos import PhotoRequest
from schemas.problems import FieldError, ProblemError

PHOTO_FIELD: Final = "image"

_CHUNK_BYTES: Final = 64 * 1024
_FIELDS_MAX_BYTES: Final = 64 * 1024
_MAX_PARTS: Final = 256
_PART_HEADS_MAX_BYTES: Final = 1024 * _MAX_PARTS
_PLAIN_ENCODINGS: Final = frozenset({"binary", "8bit", "7bit"})


@dataclass
class Form:
    """What a form held: the photos by name, and the texts of each field in their order."""

    photos: dict[str, bytes] = field(default_factory=dict[str, bytes])
    texts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


async def read_form(request: web.Request, photo_fields: Sequence[str], *, max_photo_bytes: int) -> Form:
    """Read a form to its end. Raises ProblemError as soon as a part is too large or can't be read."""
    photos_bytes = max_photo_bytes * len(photo_fields)
    if (request.content_length or 0) > photos_bytes + _FIELDS_MAX_BYTES + _PART_HEADS_MAX_BYTES:
        raise too_large("image_too_large", max_photo_bytes)
    await begin_body(request)
    try:
        return await _read_parts(request, photo_fields, max_photo_bytes)
    except (ValueError, AssertionError, RuntimeError, HttpProcessingError):
        # All of these are how aiohttp says that the parts are not as RFC 7578 has them.
        raise ProblemError("malformed_body", "The form's parts can't be told apart or read.") from None


async def _read_parts(request: web.Request, photo_fields: Sequence[str], max_photo_bytes: int) -> Form:
    form = Form()
    budget = _FIELDS_MAX_BYTES
    parts = 0
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        parts += 1
        if parts > _MAX_PARTS:
            raise ProblemError("body_too_large", f"A form may have {_MAX_PARTS} fields.")
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise ProblemError("malformed_body", "Each part must be a field with a name.")
        if part.headers.get(hdrs.CONTENT_TRANSFER_ENCODING, "binary").lower() not in _PLAIN_ENCODINGS:
            raise ProblemError("malformed_body", "Send parts as they are, without Content-Transfer-Encoding.")
        if part.name in photo_fields:
            if part.name in form.photos:
                raise invalid_fields([FieldError(field=part.name, message="is given twice")])
            refusal = of_photo(part.name, photo_fields, too_large("image_too_large", max_photo_bytes))
            form.photos[part.name] = await _read_part(part, max_photo_bytes, refusal)
        else:
            text = await _read_part(part, budget, too_large("body_too_large", _FIELDS_MAX_BYTES))
            budget -= len(text)
            form.texts.setdefault(part.name, []).append(text.decode("utf-8"))
    return form


async def _read_part(part: BodyPartReader, max_bytes: int, refusal: ProblemError) -> bytes:
    content = bytearray()
    while not part.at_eof():
        content += await part.read_chunk(_CHUNK_BYTES)
        if len(content) > max_bytes:
            raise refusal
    return bytes(content)


def too_large(code: str, max_bytes: int) -> ProblemError:
    """The refusal of a photo, or of a form's other fields, beyond their limit."""
    what = "photo" if code == "image_too_large" else "form's other fields together"
    return ProblemError(code, f"The {what} may have {max_bytes:,} bytes.")


def of_photo(name: str, photo_fields: Sequence[str], problem: ProblemError) -> ProblemError:
    """The problem of a photo, told apart where a request may have several."""
    return problem.about(name) if len(photo_fields) > 1 else problem


def arranged(texts: Mapping[str, Sequence[str]], model: type[PhotoRequest]) -> dict[str, Any]:
    """The fields as the model takes them. Raises `ProblemError("invalid_request")`."""
    given: dict[str, Any] = {}
    errors: list[FieldError] = []
    for raw_name, values in texts.items():
        name = raw_name.removesuffix("[]")
        if name in model.form_lists:
            given.setdefault(name, []).extend(_list(raw_name, values))
        elif name != raw_name:
            errors.append(FieldError(field=raw_name[:64], message="is not a list"))
        elif len(values) > 1:
            errors.append(FieldError(field=name[:64], message="is given twice"))
        elif name in model.form_objects:
            try:
                given[name] = json_value(values[0])
            except ValueError:
                errors.append(FieldError(field=name, message="must be a JSON object"))
        else:
            given[name] = values[0]
    if errors:
        raise invalid_fields(errors)
    return given


def _list(name: str, values: Sequence[str]) -> list[Any]:
    """Repeated fields, or one JSON array; what merely begins like one is an item."""
    if len(values) == 1 and not name.endswith("[]") and values[0].lstrip().startswith("["):
        try:
            parsed = json_value(values[0])
        except ValueError:
            return list(values)
        return cast(list[Any], parsed)
    return list(values)
