import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ingress.image_header import HeaderDamaged, ImageFormat, ImageHeader, NotAnImage, read_header


def encoded(format_: str, mode: str = "RGB", size: tuple[int, int] = (37, 23), **options: Any) -> bytes:
    photo = io.BytesIO()
    Image.new(mode, size).save(photo, format_, **options)
    return photo.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def frame(height_px: int, width_px: int, components: int = 3) -> bytes:
    return segment(0xC0, struct.pack(">BHHB", 8, height_px, width_px, components) + bytes(3 * components))


SCAN = segment(0xDA, bytes(10))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"exif": b"Exif\x00\x00" + bytes(5000)}, {"icc_profile": bytes(200_000)}],
    ids=["baseline", "progressive", "exif", "profile"],
)
def test_a_jpegs_size(mode: str, options: dict[str, Any]) -> None:
    assert read_header(encoded("JPEG", mode, **options)) == ImageHeader(ImageFormat.JPEG, 37, 23)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_a_pngs_size(mode: str) -> None:
    assert read_header(encoded("PNG", mode)) == ImageHeader(ImageFormat.PNG, 37, 23)


def test_a_thumbnail_inside_the_exif_data_is_not_the_photo() -> None:
    thumbnail = encoded("JPEG", size=(8, 8))
    photo = encoded("JPEG", size=(64, 48), exif=b"Exif\x00\x00" + thumbnail)
    assert read_header(photo) == ImageHeader(ImageFormat.JPEG, 64, 48)


def test_filling_before_a_marker_is_skipped() -> None:
    photo = b"\xff\xd8" + b"\xff" * 1000 + frame(23, 37) + b"\xff" * 7 + SCAN
    assert read_header(photo) == ImageHeader(ImageFormat.JPEG, 37, 23)


@pytest.mark.parametrize("format_", ["GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_no_photo(format_: str) -> None:
    with pytest.raises(NotAnImage):
        read_header(encoded(format_))


@given(st.binary(max_size=200))
def test_garbage_is_no_photo(garbage: bytes) -> None:
    with pytest.raises((NotAnImage, HeaderDamaged)):
        read_header(garbage)


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_a_photo_cut_anywhere_in_its_header_is_refused(format_: str) -> None:
    photo = encoded(format_)
    whole = next(length for length in range(len(photo)) if _is_read(photo[:length]))
    assert all(_is_read(photo[:length]) for length in range(whole, len(photo)))


def _is_read(photo: bytes) -> bool:
    try:
        return read_header(photo) == ImageHeader(read_header(photo).format, 37, 23)
    except (NotAnImage, HeaderDamaged):
        return False


@given(st.binary(max_size=400))
def test_no_jpeg_header_makes_the_parser_fail_otherwise(rest: bytes) -> None:
    try:
        header = read_header(b"\xff\xd8\xff" + rest)
    except HeaderDamaged:
        return
    assert header.width_px > 0
    assert header.height_px > 0


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(frame(10, 10) + frame(60_000, 60_000) + SCAN, id="two frame headers"),
        pytest.param(frame(0, 10) + SCAN, id="no height"),
        pytest.param(frame(10, 0) + SCAN, id="no width"),
        pytest.param(SCAN + frame(10, 10), id="scan before the frame header"),
        pytest.param(b"\xff\xd9" + frame(10, 10) + SCAN, id="ends before its scan"),
        pytest.param(b"\xff\xd8" + frame(10, 10) + SCAN, id="begins twice"),
        pytest.param(b"\xff\xd0" * 1000 + frame(10, 10) + SCAN, id="restart markers"),
        pytest.param(b"\xff" * 10_000_000, id="nothing but filling"),
        pytest.param(segment(0xE0, b"") * 2_500_000 + frame(10, 10) + SCAN, id="millions of segments"),
        pytest.param(
            b"\xff\xe0\x00\x00" + frame(10, 10) + SCAN, id="a segment shorter than its length field"
        ),
        pytest.param(b"\xff\xe0\xff\xff" + frame(10, 10) + SCAN, id="a segment beyond the end"),
        pytest.param(segment(0xE0, b"") + b"\x00" + frame(10, 10) + SCAN, id="no marker"),
        pytest.param(segment(0xC0, bytes(3)) + SCAN, id="frame header cut"),
        pytest.param(frame(10, 10)[:-3] + SCAN, id="fewer components than said"),
    ],
)
def test_a_jpeg_that_contradicts_itself_is_refused(hostile: bytes) -> None:
    with pytest.raises(HeaderDamaged):
        read_header(b"\xff\xd8" + hostile)


def png(width_px: int, height_px: int, *, kind: bytes = b"IHDR", length: int = 13) -> bytes:
    chunk = kind + struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", length) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    "hostile",
    [
        png(0, 10),
        png(10, 0),
        png(2**31, 10),
        png(10, 10, kind=b"IDAT"),
        png(10, 10, length=14),
        png(10, 10)[:-1] + b"\x00",
    ],
    ids=["no width", "no height", "too wide", "another chunk first", "wrong length", "wrong checksum"],
)
def test_a_png_that_contradicts_itself_is_refused(hostile: bytes) -> None:
    with pytest.raises(HeaderDamaged):
        read_header(hostile)


def test_a_size_is_told_however_large() -> None:
    assert read_header(png(2**31 - 1, 2**31 - 1)).width_px == 2**31 - 1
    assert read_header(b"\xff\xd8" + frame(65_535, 65_535) + SCAN).height_px == 65_535
