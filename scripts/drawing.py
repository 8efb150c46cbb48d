"""Photos with a box around each face and what was said of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

HEIGHT_PX = 420
_MATCH_COLOUR, _STRANGER_COLOUR = "#1a9850", "#d73027"
_FONT_SHARE, _LEAST_FONT_PX = 0.043, 14


@dataclass(frozen=True)
class Mark:
    """A face: its box in the upright photo (`x`, `y`, `width`, `height`), and what was said of it."""

    box: tuple[float, float, float, float]
    label: str
    matched: bool


@dataclass(frozen=True)
class Panel:
    """A photo and its faces."""

    photo: Path
    marks: Sequence[Mark]


def draw(panels: Sequence[Panel], target: Path, *, height_px: int = HEIGHT_PX) -> None:
    """All photos side by side, each as high as the others."""
    drawn = [_drawn(panel, height_px) for panel in panels]
    sheet = Image.new("RGB", (sum(image.width for image in drawn), height_px), "white")
    left = 0
    for image in drawn:
        sheet.paste(image, (left, 0))
        left += image.width
    sheet.save(target)


def _drawn(panel: Panel, height_px: int) -> Image.Image:
    with Image.open(panel.photo) as photo:
        # Boxes are in the upright photo, as the service has seen it.
        image = ImageOps.exif_transpose(photo).convert("RGB")
    scale = height_px / image.height
    image = image.resize((round(image.width * scale), height_px))
    draw_on = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(_LEAST_FONT_PX, height_px * _FONT_SHARE))
    for mark in panel.marks:
        colour = _MATCH_COLOUR if mark.matched else _STRANGER_COLOUR
        x, y, width, height = (part * scale for part in mark.box)
        draw_on.rectangle((x, y, x + width, y + height), outline=colour, width=max(2, height_px // 105))
        left, _, right, bottom = draw_on.textbbox((0, 0), mark.label, font=font)
        tag_width, tag_height = right - left + 12, bottom + 8
        # Below the face, but inside the photo.
        tag_x = max(0, min(x, image.width - tag_width))
        tag_y = max(0, min(y + height, height_px - tag_height))
        draw_on.rectangle((tag_x, tag_y, tag_x + tag_width, tag_y + tag_height), fill=colour)
        draw_on.text((tag_x + 6, tag_y + 4), mark.label, fill="white", font=font)
    return image
