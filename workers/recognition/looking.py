"""One photo being looked at: as closely as the question needs, and decoded no more often than that takes."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from infra.clock import Clock
from workers.recognition.analysis import PhotoRequest
from workers.recognition.crop import crop_corners, crop_face
from workers.recognition.detector import GLANCE, SEARCH, DetectedFace, Detector, Look
from workers.recognition.opened_photo import OpenedPhoto, View
from workers.recognition.parameters import CROP_SIDE_PX, MIN_FACE_PX
from workers.recognition.prominence import prominence


class OpenPhoto(Protocol):
    """Opens photos, as `open_photo` and the opener's process do."""

    def __call__(self, photo: bytes, /, *, view: View) -> OpenedPhoto:
        """What is wanted of a photo; its pixels need to hold only until the next call. Raises
        `PhotoRefused`."""
        ...


class Looking:
    """At the photo of a request."""

    def __init__(
        self, request: PhotoRequest, detector: Detector, open_photo: OpenPhoto, clock: Clock
    ) -> None:
        """Open the photo. Raises `PhotoRefused`, as all here does that may have to open it again."""
        self._request = request
        self._detector = detector
        self._open_photo = open_photo
        self._clock = clock
        self.opened_s = 0.0
        """How long opening took, all together."""
        self._whole: OpenedPhoto | None = None
        """What of it was opened last, if its pixels are still there."""
        every_face = request.all_faces or request.purpose == "detection"
        self._first_look = SEARCH if every_face else GLANCE
        opened = self._opened(self._first_look)
        self.width_px, self.height_px = opened.width_px, opened.height_px

    def faces(self) -> list[DetectedFace]:
        """By falling prominence: all, or as many as it takes to know the most prominent, and for an enrolment
        its rivals."""
        found = self._seen(self._first_look)
        if self._first_look is SEARCH or self._settled(found):
            return found
        return self._seen(SEARCH) or found

    def crops(self, faces: Sequence[DetectedFace]) -> list[NDArray[np.uint8]]:
        """The faces as the network takes them, cut from pictures in which each is wide enough."""
        whole = self._whole
        cut = [crop_face(whole, face.box) if whole and _shows(whole, face) else None for face in faces]
        narrow = [face for face, crop in zip(faces, cut, strict=True) if crop is None]
        if not narrow:
            return [crop for crop in cut if crop is not None]
        larger = self._open(self._view_of(narrow))
        self._whole = None  # Its pixels gave way to the larger ones of a part.
        return [
            crop if crop is not None else crop_face(larger, face.box)
            for face, crop in zip(faces, cut, strict=True)
        ]

    def _seen(self, look: Look) -> list[DetectedFace]:
        return self._detector.detect(self._opened(look), look, self._min_face_px)

    def _settled(self, found: Sequence[DetectedFace]) -> bool:
        """Whether a closer look could change nothing: it shows no more, or what a glance has overlooked is
        too small to matter beside what it has found."""
        longest_px = max(self.width_px, self.height_px)
        overlooked_px, smallest_px = (
            look.smallest_face_px(longest_px, self._min_face_px) for look in (GLANCE, SEARCH)
        )
        if overlooked_px <= smallest_px:
            return True
        policy = self._request.quality
        if not found or found[0].confidence < policy.min_detection_confidence:
            return False
        counts_from = policy.max_second_face_ratio if self._request.purpose == "enrolment" else 1.0
        return overlooked_px**2 <= counts_from * prominence(found[0].box, self.width_px, self.height_px)

    @property
    def _min_face_px(self) -> float:
        return min(MIN_FACE_PX, self._request.quality.min_face_width_px)

    def _opened(self, look: Look) -> OpenedPhoto:
        whole = self._whole
        if whole is None or not (whole.full_size or max(whole.pixels.shape[:2]) >= look.side_px):
            whole = self._whole = self._open(View(look.side_px))
        return whole

    def _open(self, view: View) -> OpenedPhoto:
        started_s = self._clock.monotonic_s()
        opened = self._open_photo(self._request.photo, view=view)
        self.opened_s += self._clock.monotonic_s() - started_s
        return opened

    def _view_of(self, faces: Sequence[DetectedFace]) -> View:
        """Of the part of the photo where the faces are, so large that the narrowest is wide enough."""
        corners = np.array([crop_corners(face.box, self.width_px, self.height_px) for face in faces])
        narrowest_px = max(1.0, min(face.box.width for face in faces))
        left, top = corners[:, :2].min(axis=0).tolist()
        right, bottom = corners[:, 2:].max(axis=0).tolist()
        least_side_px = CROP_SIDE_PX / narrowest_px * max(self.width_px, self.height_px)
        return View(least_side_px, (left, top, right, bottom))


def _shows(photo: OpenedPhoto, face: DetectedFace) -> bool:
    """Whether a face is as wide in the picture as the network wants it, or as the photo has it."""
    return photo.full_size or face.box.width / photo.scale[0] >= CROP_SIDE_PX
