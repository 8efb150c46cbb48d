"""Different photo files of one person, made from one: as many as a test needs, each with bytes of its own."""

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

_LONGEST_SIDE_PX = 480


def pixelated(picture: Image.Image, side_px: int) -> Image.Image:
    """The picture in squares of one colour each."""
    small = picture.resize((picture.width // side_px, picture.height // side_px), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.NEAREST)


def variants(path: Path, count: int) -> Iterator[bytes]:
    """The photo at slightly different sizes, as JPEG: the same face, another file and almost the same
    template."""
    with Image.open(path) as image:
        image.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX))
        picture = image.convert("RGB")
    for number in range(count):
        target = io.BytesIO()
        size = (picture.width - 2 * number, picture.height - 2 * number)
        picture.resize(size).save(target, "JPEG", quality=90)
        yield target.getvalue()
