"""What a photo's first bytes say of it: format and size in pixels, without decoding anything.

PNG: ISO/IEC 15948 §5.2 (signature), §11.2.2 (IHDR). JPEG: ITU-T T.81, annex B: markers, each with a segment
whose length is told, up to the frame header (SOFn) and the start of the scan.
"""

import re
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ImageFormat(StrEnum):
    """The formats that are taken."""

    JPEG = "jpeg"
    PNG = "png"


class NotAnImage(ValueError):
    """The bytes are neither a JPEG nor a PNG."""


class HeaderDamaged(ValueError):
    """The bytes begin like an image, but its header is cut off or contradicts itself."""


@dataclass(frozen=True)
class ImageHeader:
    """What the header says; the size is that of the stored pixels, before any EXIF orientation."""

    format: ImageFormat
    width_px: int
    height_px: int


_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_IHDR: Final = b"\x00\x00\x00\x0dIHDR"
_PNG_MAX_SIDE_PX: Final = 2**31 - 1
_JPEG_START: Final = b"\xff\xd8\xff"

_SOF_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # Those three are DHT, JPG and DAC.
# TEM, RST0 to RST7, SOI, EOI: no segment follows them.
_BARE_MARKERS: Final = frozenset({0x01, *range(0xD0, 0xDA)})
_START_OF_SCAN: Final = 0xDA
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])")  # 0xFF may be repeated as filling (T.81 §B.1.1.2).

# A colour profile is cut into 255 at most, and little else is cut at all; a hostile file has millions.
_MAX_SEGMENTS: Final = 2000


def read_header(photo: bytes) -> ImageHeader:
    """Format and size of a photo. Raises NotAnImage or HeaderDamaged."""
    if photo.startswith(_PNG_SIGNATURE):
        width_px, height_px = _png_size(photo)
        return ImageHeader(ImageFormat.PNG, width_px, height_px)
    if photo.startswith(_JPEG_START):
        width_px, height_px = _jpeg_size(photo)
        return ImageHeader(ImageFormat.JPEG, width_px, height_px)
    raise NotAnImage("neither the signature of JPEG nor that of PNG")


def _png_size(photo: bytes) -> tuple[int, int]:
    start = len(_PNG_SIGNATURE)
    chunk = photo[start : start + 25]  # length, type, 13 bytes of data, CRC
    if len(chunk) < 25 or not chunk.startswith(_PNG_IHDR):
        raise HeaderDamaged("the first chunk is not a whole IHDR")
    if zlib.crc32(chunk[4:21]) != int.from_bytes(chunk[21:25], "big"):
        raise HeaderDamaged("the IHDR's checksum does not fit")
    width_px, height_px = int.from_bytes(chunk[8:12], "big"), int.from_bytes(chunk[12:16], "big")
    if not (0 < width_px <= _PNG_MAX_SIDE_PX and 0 < height_px <= _PNG_MAX_SIDE_PX):
        raise HeaderDamaged("a PNG has at least one pixel a side")
    return width_px, height_px


def _jpeg_size(photo: bytes) -> tuple[int, int]:
    """Walks on to the start of the scan: of two frame headers the first could lie about the second."""
    size: tuple[int, int] | None = None
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.match(photo, at)
        if found is None:
            raise HeaderDamaged("a marker is missing")
        marker, at = found[1][0], found.end()
        if marker in _BARE_MARKERS:
            raise HeaderDamaged("this marker does not belong before the scan")
        if marker == _START_OF_SCAN:
            break
        end = at + int.from_bytes(photo[at : at + 2], "big")
        if end < at + 2 or end > len(photo):
            raise HeaderDamaged("a segment is cut off")
        if marker in _SOF_MARKERS:
            if size is not None:
                raise HeaderDamaged("there are two frame headers")
            size = _frame_size(photo[at:end])
        at = end
    else:
        raise HeaderDamaged("there are too many segments before the scan")
    if size is None:
        raise HeaderDamaged("there is no frame header before the scan")
    return size


def _frame_size(segment: bytes) -> tuple[int, int]:
    """From a frame header: length (2), precision (1), height (2), width (2), components (1, and 3 each)."""
    if len(segment) < 8 or len(segment) != 8 + 3 * segment[7]:
        raise HeaderDamaged("the frame header has a wrong length")
    height_px, width_px = int.from_bytes(segment[3:5], "big"), int.from_bytes(segment[5:7], "big")
    if height_px == 0 or width_px == 0:
        # Height 0 would announce a DNL segment behind the scan, which no camera writes.
        raise HeaderDamaged("the frame header names no size")
    return width_px, height_px
