"""Photos of every colour mode, orientation and condition, made on the spot."""

import contextlib
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from schemas.recognition import PhotoLimits
from workers.recognition.opened_photo import View
from workers.recognition.opener import PhotoRefused, open_photo

LIMITS = PhotoLimits(max_bytes=1_000_000, max_pixels=1_000_000)
WIDTH, HEIGHT = 48, 32
RED, GREY, PAPER = (200, 40, 40), (120, 120, 120), (128, 128, 128)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(mode: str, color: object) -> Image.Image:
    return Image.new(mode, (WIDTH, HEIGHT), color)  # type: ignore[arg-type]


def palette(*, transparent: bool) -> bytes:
    image = plain("P", 0)
    image.putpalette([*RED, 10, 20, 30])
    return encoded(image, transparency=0) if transparent else encoded(image)


def grey_16(value: int) -> bytes:
    return encoded(Image.fromarray(np.full((HEIGHT, WIDTH), value, np.uint16)))


def transparent_grey_16() -> bytes:
    """A 16-bit PNG all of whose pixels have the value that a tRNS chunk declares transparent."""
    data = grey_16(1234)
    body = b"tRNS" + struct.pack(">H", 1234)
    chunk = struct.pack(">I", 2) + body + struct.pack(">I", zlib.crc32(body))
    place = data.index(b"IDAT") - 4
    return data[:place] + chunk + data[place:]


def rgb_16() -> bytes:
    """Pillow cannot write 16 bits a channel, so the PNG is put together here."""
    row = b"\0" + struct.pack(">HHH", *(value * 257 for value in RED)) * WIDTH
    chunks = (
        b"IHDR" + struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(row * HEIGHT),
        b"IEND",
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def cmyk(*, adobe: bool) -> bytes:
    """Red in CMYK. Pillow writes what Adobe writes, inverted and marked so; without the mark nothing is
    inverted."""
    red = (0, 204, 204, 55)
    if adobe:
        return encoded(plain("CMYK", red), "JPEG", quality=100)
    data = encoded(plain("CMYK", tuple(255 - part for part in red)), "JPEG", quality=100)
    place = data.index(b"\xff\xee")
    return data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4], "big") :]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(plain("RGB", RED)), RED),
        (encoded(plain("RGB", RED), "JPEG", quality=100), RED),
        (encoded(plain("L", 120)), GREY),
        (encoded(plain("L", 120), "JPEG", quality=100), GREY),
        (encoded(plain("1", 1)), (255, 255, 255)),
        (encoded(plain("RGBA", (*RED, 255))), RED),
        (encoded(plain("RGBA", (*RED, 0))), PAPER),
        (encoded(plain("RGBA", (228, 28, 128, 128))), (178, 78, 128)),
        (encoded(plain("LA", (120, 255))), GREY),
        (encoded(plain("LA", (120, 0))), PAPER),
        (encoded(plain("RGB", RED), transparency=RED), PAPER),
        (encoded(plain("L", 120), transparency=120), PAPER),
        (palette(transparent=False), RED),
        (palette(transparent=True), PAPER),
        (grey_16(120 * 257), GREY),
        (grey_16(65535), (255, 255, 255)),
        (grey_16(0), (0, 0, 0)),
        (transparent_grey_16(), PAPER),
        (rgb_16(), RED),
        (cmyk(adobe=True), (200, 40, 40)),
        (cmyk(adobe=False), (200, 40, 40)),
    ],
    ids=[
        "png", "jpeg", "grey png", "grey jpeg", "one bit", "rgba", "rgba transparent", "rgba half",
        "la", "la transparent", "rgb transparent", "grey transparent", "palette", "palette transparent",
        "16 bit", "16 bit white", "16 bit black", "16 bit transparent", "16 bit rgb", "adobe cmyk", "cmyk",
    ],
)  # fmt: skip
def test_every_mode_becomes_rgb(data: bytes, expected: tuple[int, int, int]) -> None:
    pixels = open_photo(data, LIMITS).pixels
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected).max() <= 3


def corner_mark() -> NDArray[np.uint8]:
    """A picture whose top left quarter is red and whose top right is blue, so that no turn of it looks like
    another."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[: HEIGHT // 2, : WIDTH // 2] = (255, 0, 0)
    pixels[: HEIGHT // 2, WIDTH // 2 :] = (0, 0, 255)
    return pixels


STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
"""How a camera that writes an orientation stored what was upright (Exif 2.32: which side row 0 and column 0
are)."""


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](corner_mark())))
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    pixels = open_photo(encoded(stored, kind, exif=exif, **options), LIMITS).pixels
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(pixels.astype(int) - corner_mark()).mean() < 8


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(corner_mark()), exif=exif)
    assert np.array_equal(open_photo(data, LIMITS).pixels, corner_mark())


def test_broken_exif_does_not_cost_the_photo() -> None:
    data = encoded(
        Image.fromarray(corner_mark()), "JPEG", quality=100, exif=b"Exif\0\0MM\0*\0\0\xff\xff broken"
    )
    assert open_photo(data, LIMITS).pixels.shape == (HEIGHT, WIDTH, 3)


def test_of_several_pictures_the_first_is_taken() -> None:
    first, second = plain("RGB", RED), plain("RGB", GREY)
    animated = encoded(first, save_all=True, append_images=[second])
    several = encoded(first, "MPO", save_all=True, append_images=[second], quality=100)
    assert several.startswith(b"\xff\xd8\xff")
    for data in (animated, several):
        assert np.abs(open_photo(data, LIMITS).pixels.astype(int) - RED).max() <= 3


def refusal_of(data: bytes, limits: PhotoLimits = LIMITS) -> str:
    with pytest.raises(PhotoRefused) as raised:
        open_photo(data, limits)
    return raised.value.code


def noise(width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "JPEG2000"])
def test_other_formats_are_refused_by_their_bytes(kind: str) -> None:
    assert refusal_of(encoded(plain("RGB", RED), kind)) == "unsupported_media_type"


@pytest.mark.parametrize("data", [b"", b"\xff", b"photo", b"<svg/>", b"\0" * 100])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert refusal_of(data) == "unsupported_media_type"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_a_photo_that_is_cut_off_is_corrupt(kind: str, share: float) -> None:
    data = encoded(noise(100, 80), kind)
    assert refusal_of(data[: int(len(data) * share)]) == "corrupt_image"


def test_limits_are_checked_before_decoding() -> None:
    assert refusal_of(b"\0" * 101, PhotoLimits(max_bytes=100)) == "image_too_large"
    data = encoded(noise(100, 80))
    exact = PhotoLimits(max_bytes=len(data), max_pixels=8_000)
    assert open_photo(data, exact).pixels.shape == (80, 100, 3)
    assert refusal_of(data, PhotoLimits(max_bytes=len(data) - 1)) == "image_too_large"
    # Of a photo that is too large nothing but the header is looked at: the rest may be missing.
    assert refusal_of(data[:100], PhotoLimits(max_pixels=7_999)) == "image_dimensions"


@pytest.mark.parametrize(("width", "height"), [(19, 100), (100, 19), (1, 1)])
def test_a_photo_must_have_20_px_a_side(width: int, height: int) -> None:
    assert refusal_of(encoded(noise(width, height))) == "image_dimensions"
    assert open_photo(encoded(noise(20, 20)), LIMITS).pixels.shape == (20, 20, 3)


@pytest.mark.parametrize("side", [10_000, 40_000])
def test_a_decompression_bomb_is_refused(side: int) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"\0" * 1000)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, body)
    )
    assert refusal_of(data) == "image_dimensions"


PNG, JPEG = encoded(noise(24, 24)), encoded(noise(24, 24), "JPEG")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([PNG, JPEG]), st.data())
def test_damaged_bytes_are_opened_or_refused_and_nothing_else(original: bytes, data: st.DataObject) -> None:
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PhotoRefused):
        pixels = open_photo(bytes(damaged), LIMITS).pixels
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3


def large_mark() -> Image.Image:
    """What `corner_mark` shows, large enough to be decoded at a reduced size, and of no even size."""
    return Image.fromarray(corner_mark()).resize((WIDTH * 20 + 3, HEIGHT * 20 + 5), Image.Resampling.NEAREST)


@pytest.mark.parametrize(
    ("least_side_px", "reduction"), [(964, 1), (482, 1), (481, 2), (241, 2), (240, 4), (100, 8), (1, 8)]
)
def test_a_jpeg_is_decoded_no_larger_than_is_asked(least_side_px: float, reduction: int) -> None:
    whole = open_photo(encoded(large_mark(), "JPEG"), LIMITS)
    opened = open_photo(encoded(large_mark(), "JPEG"), LIMITS, View(least_side_px))
    assert opened.pixels.shape[:2] == (-(-645 // reduction), -(-963 // reduction))
    assert (opened.width_px, opened.height_px) == (whole.width_px, whole.height_px) == (963, 645)
    assert opened.scale == pytest.approx((reduction, reduction), rel=0.01)
    assert opened.full_size == (reduction == 1)
    fewer = whole.pixels[reduction // 2 :: reduction, reduction // 2 :: reduction].astype(int)
    assert np.abs(opened.pixels[: len(fewer), : fewer.shape[1]] - fewer).mean() < 3


@pytest.mark.parametrize("orientation", STORED)
def test_a_reduced_part_lies_where_it_does_in_the_upright_photo(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(large_mark()))))
    data = encoded(stored, "JPEG", quality=95, exif=exif)
    view = View(400, (400.0, 21.0, 700.0, 400.0))
    opened = open_photo(data, LIMITS, view)
    assert (opened.width_px, opened.height_px) == (963, 645)
    assert opened.pixels.shape[:2] == (191, 151)
    assert (opened.left_px, opened.top_px) == pytest.approx((400, 20), abs=1)
    # The red quarter ends 81 px to the right of where the part begins, and 300 px below.
    colours = [opened.pixels[y, x].tolist() for y, x in ((60, 20), (60, 100), (180, 20), (180, 100))]
    expected = [[255, 0, 0], [0, 0, 255], [0, 0, 0], [0, 0, 0]]
    assert np.abs(np.array(colours) - expected).max() < 40


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_kind_of_jpeg_is_decoded_reduced(mode: str, progressive: bool) -> None:
    image = Image.new("RGB", (900, 700), RED).convert(mode)
    data = encoded(image, "JPEG", quality=95, progressive=progressive)
    opened = open_photo(data, LIMITS, View(400))
    assert opened.pixels.shape == (350, 450, 3)
    assert np.abs(opened.pixels.astype(int) - open_photo(data, LIMITS).pixels[0, 0]).max() <= 3


def test_a_part_of_a_png_comes_at_full_size() -> None:
    image = noise(300, 200).convert("RGBA")
    whole = open_photo(encoded(image), LIMITS)
    opened = open_photo(encoded(image), LIMITS, View(50, (10.2, 20.0, 60.0, 300.0)))
    assert (opened.scale, opened.left_px, opened.top_px) == ((1, 1), 10, 20)
    assert np.array_equal(opened.pixels, whole.pixels[20:, 10:60])


def test_of_several_pictures_the_first_is_reduced() -> None:
    first, second = Image.new("RGB", (900, 700), RED), Image.new("RGB", (900, 700), GREY)
    data = encoded(first, "MPO", save_all=True, append_images=[second], quality=95)
    opened = open_photo(data, LIMITS, View(400))
    assert opened.pixels.shape == (350, 450, 3)
    assert np.abs(opened.pixels.astype(int) - RED).max() <= 3


def test_a_photo_that_is_cut_off_is_corrupt_at_any_size() -> None:
    data = encoded(noise(500, 400), "JPEG")
    with pytest.raises(PhotoRefused) as raised:
        open_photo(data[: len(data) // 2], LIMITS, View(100))
    assert raised.value.code == "corrupt_image"
