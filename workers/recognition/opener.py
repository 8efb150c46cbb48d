"""From the bytes of a photo to upright RGB pixels, as many as are asked for; what cannot or must not be
opened is refused with a code.

The bytes are a stranger's: their size and the dimensions in their header are checked before anything is
decoded."""

import io
import math
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.recognition import PhotoLimits
from workers.recognition.opened_photo import WHOLE, OpenedPhoto, View

_SIGNATURES: Final = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG"}
_ORIENTATION_TAG: Final = 0x0112
_TRANSPOSES: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to turn a photo upright, by its EXIF orientation (Exif 2.32, tag 274)."""

_LYING: Final = {_TRANSPOSES[orientation] for orientation in (5, 6, 7, 8)}

_REDUCTIONS: Final = (8, 4, 2)
"""What JPEG's blocks of 8 px can be decoded to directly."""

_BACKGROUND: Final = (128, 128, 128)
"""What shows through transparent pixels: mid-grey is the network's zero, and neither darkens nor overexposes
a face."""


class PhotoRefused(Exception):
    """A photo that cannot be used; the code is one of `schemas.problems`, the detail is fit for the
    client."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def open_photo(data: bytes, limits: PhotoLimits, view: View = WHOLE) -> OpenedPhoto:
    """Decode a JPEG or PNG to upright RGB.

    Every colour mode of the two formats is taken. Of an animated PNG or a multi-picture JPEG it is the first
    picture, which is what a program shows that knows of no others. Raises `PhotoRefused` with
    `image_too_large` (bytes), `unsupported_media_type`, `image_dimensions` (pixels, before decoding) or
    `corrupt_image`."""
    check_size(data, limits)
    kind = next((name for signature, name in _SIGNATURES.items() if data.startswith(signature)), None)
    if kind is None:
        raise PhotoRefused("unsupported_media_type", "The photo is neither a JPEG nor a PNG.")
    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which is no reason to refuse a photo, and of large ones, which are
        # checked here.
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=(kind,)) as image:
                _check_dimensions(image.size, limits)
                return _opened(image, view)
        except (PhotoRefused, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise PhotoRefused(
                "image_dimensions", f"Resize it to {limits.max_pixels:,} pixels at most."
            ) from error
        except Exception as error:
            # Given hostile bytes, Pillow's parsers raise whatever they run into: OSError, SyntaxError,
            # struct.error, ...
            raise PhotoRefused("corrupt_image", "The file is damaged or cut off: export it again.") from error


def _opened(image: Image.Image, view: View) -> OpenedPhoto:
    width, height = image.size
    reduction = next((size for size in _REDUCTIONS if max(width, height) >= size * view.least_side_px), 1)
    if reduction > 1:
        # Decoders can leave out the finer half of a JPEG, and of others Pillow knows that they can't.
        image.draft(image.mode, (width // reduction, height // reduction))
    transpose = _orientation(image)
    image.load()
    image = image.transpose(transpose) if transpose is not None else image
    if transpose in _LYING:
        width, height = height, width
    scale = (width / image.width, height / image.height)
    left, top, right, bottom = _part(view, scale, image.size)
    if (right - left, bottom - top) != image.size:
        image = image.crop((left, top, right, bottom))
    pixels = np.asarray(_to_rgb(image), dtype=np.uint8)
    return OpenedPhoto(pixels, width, height, scale, left * scale[0], top * scale[1])


def _part(view: View, scale: tuple[float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """What of the decoded picture was asked for: a pixel at least, for a region that it does not reach."""
    if view.region is None:
        return (0, 0, *size)
    left, top, right, bottom = view.region
    across = _within(left / scale[0], right / scale[0], size[0])
    down = _within(top / scale[1], bottom / scale[1], size[1])
    return across[0], down[0], across[1], down[1]


def _within(start: float, end: float, size: int) -> tuple[int, int]:
    first = min(max(math.floor(start), 0), size - 1)
    return first, max(min(math.ceil(end), size), first + 1)


def check_size(data: bytes, limits: PhotoLimits) -> None:
    """Raises `PhotoRefused` for too many bytes."""
    if len(data) > limits.max_bytes:
        raise PhotoRefused(
            "image_too_large", f"The photo has {len(data)} bytes; {limits.max_bytes} are allowed."
        )


def _check_dimensions(size: tuple[int, int], limits: PhotoLimits) -> None:
    width, height = size
    if min(width, height) < limits.min_side_px:
        raise PhotoRefused(
            "image_dimensions", f"The photo is {width} x {height} px; each side needs {limits.min_side_px}."
        )
    if width * height > limits.max_pixels:
        raise PhotoRefused(
            "image_dimensions", f"The photo is {width} x {height} px; {limits.max_pixels} pixels are allowed."
        )


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """What turns the photo upright."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # noqa: BLE001 - broken EXIF raises anything; such a photo is taken as it lies
        return None
    return _TRANSPOSES.get(orientation) if isinstance(orientation, int) else None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey; Pillow would clip them to 8 instead of scaling
        wide = np.asarray(image).astype(np.uint32)
        grey = np.minimum((wide + 128) // 257, 255).astype(np.uint8)
        return Image.fromarray(_uncover_16(grey, wide, image.info.get("transparency"))).convert("RGB")
    if image.mode == "CMYK" and "adobe" not in image.info:
        # Pillow inverts every CMYK JPEG, as Adobe's are stored; without Adobe's marker there was nothing to
        # invert.
        image = Image.eval(image, lambda level: 255 - level)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        base = Image.new("RGBA", layered.size, (*_BACKGROUND, 255))
        return Image.alpha_composite(base, layered).convert("RGB")
    return image.convert("RGB")


def _uncover_16(grey: NDArray[np.uint8], wide: NDArray[np.uint32], transparent: object) -> NDArray[np.uint8]:
    """Fill in the background where a 16-bit PNG has the one value that it declares transparent."""
    return (
        np.where(wide == transparent, np.uint8(_BACKGROUND[0]), grey)
        if isinstance(transparent, int)
        else grey
    )
