"""From photos to templates: open, detect, crop, judge, embed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infra.clock import Clock, SystemClock
from schemas.recognition import Engine, Face, QualityPolicy
from workers.recognition.analysis import (
    AnalysedFace,
    Analysis,
    Answer,
    Detection,
    PhotoRequest,
    Refusal,
    UnusableFace,
)
from workers.recognition.detector import DetectedFace, Detector
from workers.recognition.devices import encoder_on
from workers.recognition.encoder import Encoder, Templates
from workers.recognition.facenet_weights import FaceNetWeights
from workers.recognition.judging import judged_each, judged_templates, searchable
from workers.recognition.looking import Looking, OpenPhoto
from workers.recognition.opened_photo import of_pixels
from workers.recognition.opener import PhotoRefused
from workers.recognition.parameters import CROP_SIDE_PX
from workers.recognition.projection import TEMPLATE_DIMENSIONS
from workers.recognition.quality import measure, refusal
from workers.recognition.weights import ModelFiles


class SelfTestFailed(Exception):
    """The model does not give what a model must give: it is not to be used."""


@dataclass(frozen=True)
class _Prepared:
    """A photo whose faces wait for their templates."""

    quality: QualityPolicy
    width_px: int
    height_px: int
    faces: tuple[Face, ...]
    crops: tuple[NDArray[np.uint8], ...]
    timings_ms: dict[str, float]
    unusable: tuple[UnusableFace, ...] = ()


class FacePipeline:
    """Everything between the bytes of photos and the templates of the faces in them. Not for several threads
    at once."""

    def __init__(
        self,
        detector: Detector,
        encoder: Encoder,
        open_photo: OpenPhoto,
        clock: Clock | None = None,
    ) -> None:
        self._detector = detector
        self._encoder = encoder
        self._open_photo = open_photo
        self._clock = clock or SystemClock()

    @classmethod
    def load(cls, files: ModelFiles, *, device: str, threads: int, open_photo: OpenPhoto) -> "FacePipeline":
        """Load prepared weights on a device (`encoder_on`). Raises `WeightsError` and `DeviceUnavailable`.

        `threads` are those of the processor."""
        encoder = encoder_on(device, FaceNetWeights.read(files), threads=threads)
        return cls(Detector(threads), encoder, open_photo)

    @property
    def engine(self) -> Engine:
        """What computes templates here."""
        return self._encoder.engine

    def analyse(self, requests: Sequence[PhotoRequest], *, prepare_s: float = math.inf) -> list[Answer]:
        """An answer for each photo, in order. A photo that cannot be used is refused and touches no other.

        Photos are opened one after another, so that only crops of a batch are held at once. Those whose turn
        has not come after `prepare_s` are left without an answer."""
        prepared = list(self._prepare_within(requests, prepare_s))
        crops = [crop for photo in prepared if isinstance(photo, _Prepared) for crop in photo.crops]
        started_s = self._clock.monotonic_s()
        made = self._embed(crops)
        templates = zip(made.vectors, map(float, made.qualities), strict=True)
        embed_ms = self._since_ms(started_s)
        return [self._finished(photo, templates, embed_ms) for photo in prepared]

    def self_test(self) -> None:
        """Try the model on made pictures; raises `SelfTestFailed` when its answers cannot be templates."""
        generator = np.random.default_rng(0)
        pictures = generator.integers(0, 256, (2, CROP_SIDE_PX, CROP_SIDE_PX, 3), dtype=np.uint8)
        self._detector.detect(of_pixels(pictures[0]))
        first, second = (self._embed(list(pictures)).vectors for _ in range(2))
        if first.shape != (2, TEMPLATE_DIMENSIONS) or not np.isfinite(first).all():
            raise SelfTestFailed("the model gives no templates")
        if np.abs(np.linalg.norm(first, axis=1) - 1).max() > 1e-4:
            raise SelfTestFailed("the model's templates have not the length 1")
        if np.abs(first - second).max() > 1e-4 or np.abs(first[0] - first[1]).max() < 1e-4:
            raise SelfTestFailed("the model does not tell pictures apart, or not twice the same way")

    def _prepare_within(
        self, requests: Sequence[PhotoRequest], prepare_s: float
    ) -> Iterator[_Prepared | Detection | Refusal]:
        started_s = self._clock.monotonic_s()
        for request in requests:
            yield self._prepare(request)
            if prepare_s < self._clock.monotonic_s() - started_s:
                return

    def _prepare(self, request: PhotoRequest) -> _Prepared | Detection | Refusal:
        started_s = self._clock.monotonic_s()
        try:
            photo = Looking(request, self._detector, self._open_photo, self._clock)
            prepared = self._looked_at(request, photo)
        except PhotoRefused as refused:
            return Refusal(refused.code, refused.detail)
        if not isinstance(prepared, Refusal):
            opened_ms = round(photo.opened_s * 1000, 2)
            detected_ms = round(self._since_ms(started_s) - opened_ms, 2)
            prepared.timings_ms.update(open=opened_ms, detect=detected_ms)
        return prepared

    def _looked_at(self, request: PhotoRequest, photo: Looking) -> _Prepared | Detection | Refusal:
        width, height, policy = photo.width_px, photo.height_px, request.quality
        detected = photo.faces()
        # Of a probe it is the first face that counts: of the others, no more is to be known unless that is
        # refused.
        counting = detected[:1] if request.purpose == "probe" and not request.all_faces else detected
        crops = photo.crops(counting)
        faces = [_face(face, crop) for face, crop in zip(counting, crops, strict=True)]
        if request.purpose == "detection":
            return Detection(width, height, judged_each(faces, policy, width, height), {})
        refused = refusal(faces, request.purpose, policy, width, height)
        wanted = [0] if refused is None else []
        unusable: tuple[UnusableFace, ...] = ()
        if request.all_faces and request.purpose == "probe":
            # Each face for itself: one of them being bad is no reason to leave out the others.
            wanted, unusable = searchable(faces, policy, width, height)
        if refused is not None and not wanted:
            others = detected[len(faces) :]
            faces += [_face(face, crop) for face, crop in zip(others, photo.crops(others), strict=True)]
            return Refusal(*refused, tuple(faces))
        chosen, their_crops = tuple(faces[i] for i in wanted), tuple(crops[i] for i in wanted)
        return _Prepared(policy, width, height, chosen, their_crops, {}, unusable)

    def _embed(self, crops: Sequence[NDArray[np.uint8]]) -> Templates:
        shape = (len(crops), CROP_SIDE_PX, CROP_SIDE_PX, 3)
        return self._encoder.embed(np.array(crops, np.uint8).reshape(shape))

    def _finished(
        self,
        photo: _Prepared | Detection | Refusal,
        templates: Iterator[tuple[NDArray[np.float32], float]],
        embed_ms: float,
    ) -> Answer:
        if not isinstance(photo, _Prepared):
            return photo
        found = [_with_template(face, *next(templates)) for face in photo.faces]
        good, bad = judged_templates(found, photo.quality)
        if not good:
            return Refusal(bad[0].code, bad[0].detail, tuple(face.face for face in found))
        timings_ms = {**photo.timings_ms, "embed": embed_ms}
        unusable = (*photo.unusable, *bad)
        return Analysis(photo.width_px, photo.height_px, good, timings_ms, unusable, engine=self.engine)

    def _since_ms(self, started_s: float) -> float:
        return round((self._clock.monotonic_s() - started_s) * 1000, 2)


def _face(detected: DetectedFace, crop: NDArray[np.uint8]) -> Face:
    return Face(
        box=detected.box,
        landmarks=detected.landmarks,
        quality=measure(crop, detected.box, detected.landmarks),
        detection_confidence=detected.confidence,
    )


def _with_template(face: Face, template: NDArray[np.float32], response_strength: float) -> AnalysedFace:
    quality = face.quality.model_copy(update={"response_strength": round(response_strength, 4)})
    return AnalysedFace(face.model_copy(update={"quality": quality}), template)
