"""From a detected box to what the network takes."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.recognition import Box
from workers.recognition.opened_photo import OpenedPhoto
from workers.recognition.parameters import CROP_MARGIN_PX, CROP_SIDE_PX


def crop_corners(box: Box, width_px: int, height_px: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the face with its margin, in whole pixels of its photo.

    As facenet-pytorch's `extract_face` has it: the margin is given in pixels of the crop, so that it grows
    with the face, and what lies outside of the photo is left out."""
    grow = CROP_MARGIN_PX / (CROP_SIDE_PX - CROP_MARGIN_PX) / 2
    left = int(max(box.x - box.width * grow, 0))
    top = int(max(box.y - box.height * grow, 0))
    right = int(min(box.x + box.width * (1 + grow), width_px))
    bottom = int(min(box.y + box.height * (1 + grow), height_px))
    return left, top, right, bottom


def crop_face(photo: OpenedPhoto, box: Box) -> NDArray[np.uint8]:
    """The face with its margin, stretched to a square: uint8 [160, 160, 3].

    Raises `ValueError` when nothing of it lies inside of the photo."""
    left, top, right, bottom = crop_corners(box, photo.width_px, photo.height_px)
    if right <= left or bottom <= top:
        raise ValueError("the box lies outside of the photo")
    across, down = photo.scale
    rows, columns = photo.pixels.shape[:2]
    first, last = (left - photo.left_px) / across, min((right - photo.left_px) / across, columns)
    above, below = (top - photo.top_px) / down, min((bottom - photo.top_px) / down, rows)
    # Pixels at the edges of a reduced picture count for the part of them that lies inside.
    x, y = math.floor(first), math.floor(above)
    face = Image.fromarray(np.ascontiguousarray(photo.pixels[y : math.ceil(below), x : math.ceil(last)]))
    inside = (first - x, above - y, last - x, below - y)
    return np.array(face.resize((CROP_SIDE_PX, CROP_SIDE_PX), Image.Resampling.BILINEAR, inside))
