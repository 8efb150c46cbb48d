"""Finds the faces in a photo, the most prominent first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.recognition import Box, Landmarks, Point
from workers.recognition.mtcnn import Cascade, Picture
from workers.recognition.parameters import (
    DETECTION_SIDE_PX,
    MIN_FACE_PX,
    MIN_REDUCED_FACE_PX,
)
from workers.recognition.prominence import prominence


@dataclass(frozen=True)
class DetectedFace:
    """Where a face is, in pixels of the photo, and how sure that is."""

    box: Box
    landmarks: Landmarks
    confidence: float


class Detector:
    """MTCNN with large photos reduced, so that time is bounded by faces and not by megapixels."""

    def __init__(self, threads: int) -> None:
        """Raises `WeightsError`."""
        self._cascade = Cascade(threads)

    def detect(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        """All faces in upright RGB pixels [height, width, 3], by falling prominence; none at all is a valid
        answer."""
        height, width = pixels.shape[:2]
        reduction = min(1.0, DETECTION_SIDE_PX / max(height, width))
        # A ribbon of a photo keeps at least a pixel of its shorter side.
        size = (max(1, round(width * reduction)), max(1, round(height * reduction)))
        reduced = pixels
        if reduction < 1:
            reduced = np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
        min_face_px = max(MIN_REDUCED_FACE_PX, MIN_FACE_PX * reduction) if reduction < 1 else MIN_FACE_PX
        (found,) = self._cascade.detect([Picture(reduced, min_face_px)])
        scale = np.array([width / size[0], height / size[1]], np.float32)
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
