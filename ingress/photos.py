"""The photo of a request and the fields beside it, and what is refused before anything is decoded."""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from ingress.bodies import BODY_CODES, Input, json_object, read_body, within
from ingress.calls import Call
from ingress.describing import BodyContent, InputDescription
from ingress.forms import PHOTO_FIELD, arranged, of_photo, read_form, too_large
from ingress.image_header import HeaderDamaged, NotAnImage, read_header
from ingress.validation import invalid_fields, validated
from schemas.api.photos import PhotoRequest
from schemas.problems import FieldError, ProblemError
from schemas.recognition import PhotoLimits

P = TypeVar("P", bound=PhotoRequest)

_TIMEOUT_S: Final = 60
_JSON_FIELDS_MAX_BYTES: Final = 64 * 1024
_JSON_COPIES: Final = 4
_BLANKS: Final = b" \t\r\n"
_PHOTO_CODES: Final = ("unsupported_media_type", "corrupt_image", "image_too_large", "image_dimensions")


@dataclass(frozen=True)
class Photographed(Generic[P]):
    """Photos as they were sent, and what was said of them."""

    fields: P
    photo: bytes = field(repr=False)
    second_photo: bytes | None = field(default=None, repr=False)


class PhotoForm(Input[Photographed[P]]):
    """`multipart/form-data` with the part `image`, or a JSON object with `image` in base64; some requests
    have a second photo."""

    def __init__(self, model: type[P]) -> None:
        self.model = model
        second = model.second_photo
        self.photo_fields = (PHOTO_FIELD,) if second is None else (PHOTO_FIELD, second)

    async def read(self, call: Call) -> Photographed[P]:
        settings = call.services.settings
        max_bytes = settings.max_photo_bytes
        async with within(_TIMEOUT_S), call.parts.uploads.room(self._memory_bytes(call)):
            match call.request.content_type:
                case "multipart/form-data":
                    form = await read_form(call.request, self.photo_fields, max_photo_bytes=max_bytes)
                    photos, given = form.photos, arranged(form.texts, self.model)
                case "application/json":
                    body = await read_body(call.request, max_bytes=self._most_json_bytes(max_bytes))
                    photos, given = await asyncio.to_thread(_from_json, body, self.photo_fields, max_bytes)
                case _:
                    raise ProblemError("unsupported_content_type")
        fields = validated(self.model, given)
        if PHOTO_FIELD not in photos:
            raise invalid_fields([FieldError(field=PHOTO_FIELD, message="is required")])
        photo = photos.pop(PHOTO_FIELD)
        return Photographed(fields, photo, next(iter(photos.values()), None))

    def _most_json_bytes(self, max_photo_bytes: int) -> int:
        # Base64 makes 4 characters of 3 bytes, and some writers break its lines.
        return len(self.photo_fields) * max_photo_bytes * 3 // 2 + _JSON_FIELDS_MAX_BYTES

    def _memory_bytes(self, call: Call) -> int:
        """What reading the request takes at most, by its length where it tells that: a form as much as it
        has, JSON four times that while it is parsed twice and its photos are decoded."""
        max_bytes, length = call.services.settings.max_photo_bytes, call.request.content_length
        if call.request.content_type != "application/json":
            most = len(self.photo_fields) * max_bytes
            return most if length is None else min(length, most)
        most = self._most_json_bytes(max_bytes)
        return _JSON_COPIES * (most if length is None else min(length, most))

    def describe(self) -> InputDescription:
        files = {name: name == PHOTO_FIELD for name in self.photo_fields}
        return InputDescription(
            bodies=(
                BodyContent("multipart/form-data", self.model, files),
                BodyContent("application/json", self.model, files),
            ),
            codes=(*BODY_CODES, *_PHOTO_CODES, "invalid_request"),
        )


def check_photos(body: Photographed[P], limits: PhotoLimits) -> None:
    """Raises ProblemError as `check_photo` does, for each photo; where there are two it says of which."""
    second = body.fields.second_photo
    if second is None or body.second_photo is None:
        check_photo(body.photo, limits)
        return
    for name, photo in ((PHOTO_FIELD, body.photo), (second, body.second_photo)):
        try:
            check_photo(photo, limits)
        except ProblemError as problem:
            raise problem.about(name) from None


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
        raise ProblemError("image_dimensions", f"Resize it to {limits.max_pixels:,} pixels at most.")
    if min(header.width_px, header.height_px) < limits.min_side_px:
        raise ProblemError("image_dimensions", f"Send one of {limits.min_side_px} pixels a side at least.")


def _from_json(
    body: bytes, photo_fields: Sequence[str], max_bytes: int
) -> tuple[dict[str, bytes], dict[str, Any]]:
    given = json_object(body)
    photos: dict[str, bytes] = {}
    for name in photo_fields:
        text = given.pop(name, None)
        if text is not None:
            photos[name] = _from_base64(name, text)
            if len(photos[name]) > max_bytes:
                raise of_photo(name, photo_fields, too_large("image_too_large", max_bytes))
    return photos, given


def _from_base64(name: str, text: Any) -> bytes:
    wrong = invalid_fields([FieldError(field=name, message="must be text in base64")])
    if not isinstance(text, str):
        raise wrong
    try:
        return base64.b64decode(text.encode("ascii").translate(None, _BLANKS), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise wrong from None
