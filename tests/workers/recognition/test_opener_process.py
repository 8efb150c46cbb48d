"""The opener in its process: whatever a photo does to it, that photo alone is refused and nothing is left."""

import io
import os
import struct
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from schemas.recognition import PhotoLimits
from workers.recognition.opener import PhotoRefused, open_photo
from workers.recognition.opener_process import OpenerBudget, OpenerProcess, opener_process

pytestmark = pytest.mark.system

STAND_IN = "tests.workers.recognition.opener_stand_in"
LIMITS = PhotoLimits()
AMPLE = OpenerBudget(timeout_s=120, cpu_s=60, memory_bytes=2 * 2**30)
"""Enough for any photo, on however busy a machine."""
_MIB = 2**20


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def bomb(side: int) -> bytes:
    """A PNG of a kilobyte that says it is so many pixels wide and high."""
    chunks = (
        b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(b"\0" * 1000),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan, some bytes that each visit the whole picture, comes so many
    times."""
    plain = encoded(Image.new("L", (side, side)), "JPEG", progressive=True)
    last = plain[plain.rindex(b"\xff\xda") : -2]
    return plain[:-2] + last * scans + plain[-2:]


GOOD = encoded(noise(60, 40), "PNG")


def code_of(opener: OpenerProcess, photo: bytes) -> str | None:
    try:
        opener.open(photo)
    except PhotoRefused as refused:
        return refused.code
    return None


@contextmanager
def nothing_left() -> Generator[None]:
    """After the block there is no process, descriptor or shared memory that was not there before."""
    before = what_is_there()
    yield
    assert what_is_there() == before


def what_is_there() -> tuple[list[psutil.Process], int, int]:
    shared = Path("/proc/self/maps").read_text().count("faceid-photo")
    return psutil.Process().children(recursive=True), len(list(Path("/proc/self/fd").iterdir())), shared


@pytest.fixture(scope="module")
def opener() -> Iterator[OpenerProcess]:
    with opener_process(LIMITS, AMPLE) as running:
        yield running


def test_pixels_are_those_of_the_opener_itself(opener: OpenerProcess) -> None:
    jpeg = encoded(noise(333, 222), "JPEG")
    for photo in (GOOD, jpeg, GOOD):
        assert np.array_equal(opener.open(photo).pixels, open_photo(photo, LIMITS).pixels)


def test_hostile_files_are_refused_and_the_opener_lives_on(opener: OpenerProcess) -> None:
    pid = opener.pid
    jpeg = encoded(noise(100, 80), "JPEG")
    assert code_of(opener, bomb(40_000)) == "image_dimensions"
    assert code_of(opener, bomb(7_000)) == "corrupt_image"  # few enough pixels, and none of them there
    assert code_of(opener, jpeg[: len(jpeg) // 2]) == "corrupt_image"
    assert code_of(opener, GOOD[:-30]) == "corrupt_image"
    assert code_of(opener, b"") == "unsupported_media_type"
    assert code_of(opener, b"\0" * (LIMITS.max_bytes + 1)) == "image_too_large"
    assert code_of(opener, GOOD) is None
    assert opener.pid == pid


def test_the_largest_photo_is_opened_and_its_memory_returned(opener: OpenerProcess) -> None:
    process = psutil.Process(opener.pid)
    opener.open(GOOD)
    before = process.memory_info().rss
    photo = encoded(Image.new("RGB", (7060, 7060)), "PNG")
    assert len(photo) < 200_000
    pixels = opener.open(photo).pixels
    assert pixels.shape == (7060, 7060, 3)
    assert not pixels.any()
    opener.open(GOOD)
    assert process.memory_info().rss - before < 80 * _MIB


def test_a_photo_beyond_the_memory_is_refused_and_the_opener_lives_on() -> None:
    budget = AMPLE.model_copy(update={"memory_bytes": 450 * _MIB})
    with nothing_left(), opener_process(LIMITS, budget) as opener:
        pid = opener.pid
        assert code_of(opener, encoded(Image.new("RGBA", (7000, 7000)), "PNG")) == "image_too_costly"
        assert code_of(opener, GOOD) is None
        assert opener.pid == pid


def test_a_photo_that_takes_too_much_processor_time_is_refused_alone() -> None:
    budget = AMPLE.model_copy(update={"cpu_s": 1})
    with nothing_left(), opener_process(LIMITS, budget) as opener:
        pid = opener.pid
        photo = many_scans(7_000, 10_000)
        assert len(photo) < LIMITS.max_bytes
        assert code_of(opener, photo) == "image_too_costly"
        assert code_of(opener, GOOD) is None
        assert opener.pid not in (None, pid)


def test_an_opener_that_hangs_is_replaced() -> None:
    budget = AMPLE.model_copy(update={"timeout_s": 1})
    with nothing_left(), opener_process(LIMITS, budget, module=STAND_IN) as opener:
        pid = opener.pid
        assert code_of(opener, b"hang") == "image_too_costly"
        assert code_of(opener, b"good") is None
        assert opener.pid not in (None, pid)


def test_an_opener_that_crashes_is_replaced_at_once_each_time() -> None:
    with nothing_left(), opener_process(LIMITS, AMPLE, module=STAND_IN) as opener:
        for _ in range(3):
            assert code_of(opener, b"die") == "corrupt_image"
            assert code_of(opener, b"good") is None


def test_an_opener_that_is_killed_once_costs_no_photo(tmp_path: Path) -> None:
    """It need not have been that photo's doing."""
    with nothing_left(), opener_process(LIMITS, AMPLE, module=STAND_IN) as opener:
        pid = opener.pid
        assert code_of(opener, b"killed once: %s" % bytes(tmp_path / "mark")) is None
        assert opener.pid not in (None, pid)


def test_an_opener_that_is_killed_over_it_each_time_costs_that_photo_alone() -> None:
    with nothing_left(), opener_process(LIMITS, AMPLE, module=STAND_IN) as opener:
        assert code_of(opener, b"killed") == "corrupt_image"
        assert code_of(opener, b"good") is None


def test_an_opener_that_dies_between_photos_is_there_for_the_next() -> None:
    with nothing_left(), opener_process(LIMITS, AMPLE, module=STAND_IN) as opener:
        assert opener.pid is not None
        process = psutil.Process(opener.pid)
        process.kill()
        # It is the opener's host who sees to its end; the photo comes after that.
        psutil.wait_procs([process], timeout=60)
        while opener.pid == process.pid:
            os.sched_yield()
        assert code_of(opener, b"good") is None
