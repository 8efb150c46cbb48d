"""The photo of a request and the fields beside it, and what is refused before anything is decoded."""

import asyncio
import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from ingress.bodies import Input, json_object, read_body, within
from ingress.calls import Call
from ingress.forms import PHOTO_FIELD, arranged, read_form, too_large
from ingress.image_header import HeaderDamaged, NotAnImage, read_header
from ingress.validation import invalid_fields, validated
from schemas.api.photos import PhotoRequest
from schemas.problems import FieldError, ProblemError
from schemas.recognition import PhotoLimits

P = TypeVar("P", bound=PhotoRequest)

_TIMEOUT_S: Final = 60
_JSON_FIELDS_MAX_BYTES: Final = 64 * 1024
_BLANKS: Final = b" \t\r\n"


@dataclass(frozen=True)
class Photographed(Generic[P]):
    """A photo as it was sent, and what was said of it."""

    fields: P
    photo: bytes = field(repr=False)


class PhotoForm(Input[Photographed[P]]):
    """`multipart/form-data` with the part `image`, or a JSON object with `image` in base64."""

    def __init__(self, model: type[P]) -> None:
        self.model = model

    async def read(self, call: Call) -> Photographed[P]:
        max_bytes = call.services.settings.max_photo_bytes
        async with within(_TIMEOUT_S), call.parts.uploads:
            match call.request.content_type:
                case "multipart/form-data":
                    form = await read_form(call.request, max_photo_bytes=max_bytes)
                    photo, given = form.photo, arranged(form.texts, self.model)
                case "application/json":
                    # Base64 makes 4 characters of 3 bytes, and some writers break its lines.
                    body = await read_body(
                        call.request, max_bytes=max_bytes * 3 // 2 + _JSON_FIELDS_MAX_BYTES
                    )
                    photo, given = await asyncio.to_thread(_from_json, body, max_bytes)
                case _:
                    raise ProblemError("unsupported_content_type")
        fields = validated(self.model, given)
        if photo is None:
            raise invalid_fields([FieldError(field=PHOTO_FIELD, message="is required")])
        return Photographed(fields, photo)


def check_photo(photo: bytes, limits: PhotoLimits) -> None:
    """Raises ProblemError: `unsupported_media_type`, `corrupt_image`, `image_too_large` or
    `image_dimensions`."""
    if len(photo) > limits.max_bytes:
        raise too_large("image_too_large", limits.max_bytes)
    try:
        header = read_header(photo)
    except NotAnImage:
        raise ProblemError("unsupported_media_type") from None
    except HeaderDamaged:
        raise ProblemError("corrupt_image") from None
    if header.width_px * header.height_px > limits.max_pixels:
        raise ProblemError("image_dimensions", f"The photo may have {limits.max_pixels:,} pixels.")
    if min(header.width_px, header.height_px) < limits.min_side_px:
        raise ProblemError("image_dimensions", f"The photo needs {limits.min_side_px} pixels a side.")


def _from_json(body: bytes, max_bytes: int) -> tuple[bytes | None, dict[str, Any]]:
    given = json_object(body)
    image = given.pop(PHOTO_FIELD, None)
    if image is None:
        return None, given
    if not isinstance(image, str):
        raise invalid_fields([FieldError(field=PHOTO_FIELD, message="must be text in base64")])
    try:
        photo = base64.b64decode(image.encode("ascii").translate(None, _BLANKS), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise invalid_fields([FieldError(field=PHOTO_FIELD, message="must be text in base64")]) from None
    if len(photo) > max_bytes:
        raise too_large("image_too_large", max_bytes)
    return photo, given
