"""Finds the faces in a photo, the most prominent first."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.recognition import Box, Landmarks, Point
from workers.recognition.mtcnn import Cascade, Picture
from workers.recognition.opened_photo import OpenedPhoto
from workers.recognition.parameters import (
    GLANCE_FACE_SHARE,
    GLANCE_SIDE_PX,
    MIN_FACE_PX,
    SEARCH_FACE_SHARE,
    SEARCH_SIDE_PX,
)
from workers.recognition.prominence import prominence
from workers.recognition.pyramid import PYRAMID_FACTOR


@dataclass(frozen=True)
class DetectedFace:
    """Where a face is, in pixels of the photo, and how sure that is."""

    box: Box
    landmarks: Landmarks
    confidence: float


@dataclass(frozen=True)
class Look:
    """How closely a photo is looked at: at how many pixels of its longest side (up to twice as many), and for
    faces of at least which share of it."""

    side_px: int
    face_share: float

    def smallest_face_px(self, longest_side_px: int, min_face_px: float) -> float:
        """What is looked for in a photo of that size by someone who wants no smaller faces than that.

        It is whole steps of the pyramid away from what is wanted, so that of a picture which two looks see
        alike both look at the same levels, and find the same boxes."""
        too_small = self.face_share * longest_side_px / min_face_px
        steps = math.floor(math.log(max(1.0, too_small), 1 / PYRAMID_FACTOR))
        return min_face_px / PYRAMID_FACTOR**steps


GLANCE: Final = Look(GLANCE_SIDE_PX, GLANCE_FACE_SHARE)
SEARCH: Final = Look(SEARCH_SIDE_PX, SEARCH_FACE_SHARE)


class Detector:
    """MTCNN with large photos reduced, so that time is bounded by faces and not by megapixels.

    It computes on the processor, also beside a GPU: networks this small would not pay for the copies."""

    def __init__(self, threads: int) -> None:
        """Raises `WeightsError`."""
        self._cascade = Cascade(threads)

    def detect(
        self, photo: OpenedPhoto, look: Look = SEARCH, min_face_px: float = MIN_FACE_PX
    ) -> list[DetectedFace]:
        """All faces that a look shows in a whole photo, by falling prominence; none at all is a valid
        answer."""
        pixels, width, height = photo.pixels, photo.width_px, photo.height_px
        reduction = max(pixels.shape[:2]) // look.side_px
        if reduction > 1:
            pixels = np.asarray(Image.fromarray(pixels).reduce(reduction))
        scale = np.array(photo.scale, np.float32) * max(1, reduction)
        smallest_px = look.smallest_face_px(photo.longest_side_px, min_face_px)
        (found,) = self._cascade.detect([Picture(pixels, smallest_px / float(scale.min()))])
        faces = [
            _face(box.reshape(2, 2) * scale, points * scale, float(confidence))
            for box, points, confidence in zip(found.boxes, found.points, found.probabilities, strict=True)
        ]
        seen = [face for face in faces if _is_centred_inside(face.box, width, height)]
        return sorted(seen, key=lambda face: prominence(face.box, width, height), reverse=True)


def _is_centred_inside(box: Box, width: int, height: int) -> bool:
    """Of a face whose middle lies outside of the photo there is too little to crop."""
    return 0 <= box.x + box.width / 2 <= width and 0 <= box.y + box.height / 2 <= height


def _face(corners: NDArray[np.float32], points: NDArray[np.float32], confidence: float) -> DetectedFace:
    (left, top), (right, bottom) = corners.tolist()
    places = [Point(x=x, y=y) for x, y in points.tolist()]
    return DetectedFace(
        Box(x=left, y=top, width=max(0.0, right - left), height=max(0.0, bottom - top)),
        Landmarks(
            left_eye=places[0],
            right_eye=places[1],
            nose=places[2],
            mouth_left=places[3],
            mouth_right=places[4],
        ),
        min(1.0, confidence),
    )
