"""A photo that was opened, whole or in part, at full or at reduced size; places are told in pixels
of the photo."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class View:
    """How much of a photo is wanted: at the smallest size in which the longest side still has so many
    pixels.

    Only a JPEG can be decoded at a half, a quarter or an eighth of its size; all others come in full.
    `region` is what is wanted of it (left, top, right, bottom), None the whole."""

    least_side_px: float = math.inf
    region: tuple[float, float, float, float] | None = None


WHOLE: Final = View()

MAX_OPENINGS: Final = 4
"""How often one photo is decoded at most: for a glance, a closer look, the crop of its face, and those of all
others when it is refused (`workers.recognition.looking`)."""


@dataclass(frozen=True)
class OpenedPhoto:
    """Upright pixels of a photo: what was decoded of it, and where in it that lies."""

    pixels: NDArray[np.uint8]
    """RGB [rows, columns, 3]; they hold only until the next photo is opened."""
    width_px: int
    height_px: int
    """Of the whole photo, upright, as it was sent."""
    scale: tuple[float, float] = (1.0, 1.0)
    """How many pixels of the photo each of these is, across and down."""
    left_px: float = 0.0
    top_px: float = 0.0
    """Where in the photo these begin."""

    @property
    def full_size(self) -> bool:
        """Whether a larger view would show no more."""
        return self.scale == (1.0, 1.0)

    @property
    def longest_side_px(self) -> int:
        """Of the whole photo."""
        return max(self.width_px, self.height_px)


def of_pixels(pixels: NDArray[np.uint8]) -> OpenedPhoto:
    """A photo that is there in full."""
    height, width = pixels.shape[:2]
    return OpenedPhoto(pixels, width, height)


def view_to_frame(view: View) -> Mapping[str, Any]:
    """As msgpack can carry it."""
    return {"least_side_px": view.least_side_px, "region": view.region}


def view_from_frame(frame: Mapping[str, Any]) -> View:
    """The inverse of `view_to_frame`."""
    region = frame["region"]
    return View(frame["least_side_px"], None if region is None else tuple(region))


def opened_to_frame(opened: OpenedPhoto) -> Mapping[str, Any]:
    """All but the pixels, as msgpack can carry it."""
    return {
        "shape": opened.pixels.shape[:2],
        "width_px": opened.width_px,
        "height_px": opened.height_px,
        "scale": opened.scale,
        "left_px": opened.left_px,
        "top_px": opened.top_px,
    }


def opened_from_frame(frame: Mapping[str, Any], pixels: NDArray[np.uint8]) -> OpenedPhoto:
    """The inverse of `opened_to_frame`, for its pixels."""
    return OpenedPhoto(
        pixels,
        frame["width_px"],
        frame["height_px"],
        tuple(frame["scale"]),
        frame["left_px"],
        frame["top_px"],
    )
