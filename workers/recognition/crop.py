"""From a detected box to what the network takes."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.recognition import Box
from workers.recognition.parameters import CROP_MARGIN_PX, CROP_SIDE_PX


def crop_face(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The face with its margin, stretched to a square: uint8 [160, 160, 3].

    As facenet-pytorch's `extract_face` has it: the margin is given in pixels of the crop, so that it grows
    with the face, and what lies outside of the photo is left out. Raises `ValueError` when nothing lies
    inside."""
    height, width = pixels.shape[:2]
    grow = CROP_MARGIN_PX / (CROP_SIDE_PX - CROP_MARGIN_PX) / 2
    left = int(max(box.x - box.width * grow, 0))
    top = int(max(box.y - box.height * grow, 0))
    right = int(min(box.x + box.width * (1 + grow), width))
    bottom = int(min(box.y + box.height * (1 + grow), height))
    if right <= left or bottom <= top:
        raise ValueError("the box lies outside of the photo")
    face = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    return np.array(face.resize((CROP_SIDE_PX, CROP_SIDE_PX), Image.Resampling.BILINEAR))
