"""The cascade of three small networks that finds faces and their five points (MTCNN, Zhang et al. 2016).

Networks and weights are facenet-pytorch's; the steps between them are written out here because that package's
raise on photos without candidates, on candidates outside of the picture and on very small pictures. On all
others the two agree, which a test checks."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.ops import nms

_CELL_PX: Final = 12
"""What the first network looks at, and so the smallest face at scale 1."""
_STRIDE_PX: Final = 2
_PYRAMID_FACTOR: Final = 0.709
"""Each level of the pyramid has half the area of the one before."""
_THRESHOLDS: Final = (0.6, 0.7, 0.7)
_MAX_BATCH: Final = 512


@dataclass(frozen=True)
class Detections:
    """Faces in pixels of the picture: boxes [n, 4] (left, top, right, bottom), points [n, 5, 2],
    probabilities [n]."""

    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    probabilities: NDArray[np.float32]


class Cascade:
    """MTCNN on one picture at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._proposal, self._refinement, self._output = (
            net.eval().to(device) for net in (PNet(), RNet(), ONet())
        )

    @torch.inference_mode()
    def detect(self, pixels: NDArray[np.uint8], min_face_px: float) -> Detections:
        """Find the faces of at least `min_face_px` in RGB pixels [height, width, 3]; none at all is a valid
        answer."""
        picture = torch.tensor(pixels, device=self._device).permute(2, 0, 1)[None].float().contiguous()
        boxes = self._propose(picture, min_face_px)
        boxes = self._refine(picture, boxes)
        return self._finish(picture, boxes)

    def _propose(self, picture: Tensor, min_face_px: float) -> Tensor:
        """Candidates from all levels of the pyramid: [n, 4], square."""
        found = [self._propose_at(picture, scale) for scale in _scales(picture, min_face_px)]
        rows = torch.cat(found) if found else torch.zeros(0, 9, device=self._device)
        rows = rows[nms(rows[:, :4], rows[:, 4], 0.7)]
        sides = (rows[:, 2:4] - rows[:, :2]).repeat(1, 2)
        return _squared(rows[:, :4] + rows[:, 5:9] * sides)

    def _propose_at(self, picture: Tensor, scale: float) -> Tensor:
        height, width = picture.shape[2:]
        level = _resized(picture, (int(height * scale + 1), int(width * scale + 1)))
        offsets, probabilities = self._proposal(level)
        hit = probabilities[0, 1] >= _THRESHOLDS[0]
        cells = hit.nonzero().flip(1).float() * _STRIDE_PX
        scores = probabilities[0, 1][hit][:, None]
        corners = torch.cat([((cells + 1) / scale).floor(), ((cells + _CELL_PX) / scale).floor()], dim=1)
        rows = torch.cat([corners, scores, offsets[0, :, hit].T], dim=1)
        return rows[nms(corners, scores[:, 0], 0.5)]

    def _refine(self, picture: Tensor, boxes: Tensor) -> Tensor:
        boxes, patches = _cut(picture, boxes, 24)
        if len(boxes) == 0:
            return boxes
        offsets, probabilities = _in_batches(self._refinement, patches)
        scores = probabilities[:, 1]
        kept = (scores > _THRESHOLDS[1]).nonzero()[:, 0]
        kept = kept[nms(boxes[kept], scores[kept], 0.7)]
        return _squared(_shifted(boxes[kept], offsets[kept]))

    def _finish(self, picture: Tensor, boxes: Tensor) -> Detections:
        boxes, patches = _cut(picture, boxes, 48)
        if len(boxes) == 0:
            return Detections(*(np.zeros(shape, np.float32) for shape in ((0, 4), (0, 5, 2), (0,))))
        offsets, relative, probabilities = _in_batches(self._output, patches)
        scores = probabilities[:, 1]
        passed = scores > _THRESHOLDS[2]
        boxes, offsets, relative, scores = boxes[passed], offsets[passed], relative[passed], scores[passed]
        sides = boxes[:, 2:4] - boxes[:, :2] + 1
        points = relative.reshape(-1, 2, 5).transpose(1, 2) * sides[:, None] + boxes[:, None, :2] - 1
        boxes = _shifted(boxes, offsets)
        kept = _best_of_overlapping(boxes, scores)
        return Detections(*(tensor[kept].cpu().numpy() for tensor in (boxes, points, scores)))


def _scales(picture: Tensor, min_face_px: float) -> list[float]:
    scales: list[float] = []
    scale = _CELL_PX / min_face_px
    while min(picture.shape[2:]) * scale >= _CELL_PX:
        scales.append(scale)
        scale *= _PYRAMID_FACTOR
    return scales


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    return (functional.interpolate(pixels, size=size, mode="area") - 127.5) / 128


def _cut(picture: Tensor, boxes: Tensor, side_px: int) -> tuple[Tensor, Tensor]:
    """The candidates that overlap the picture, and what lies inside of both, resized to a square."""
    height, width = picture.shape[2:]
    corners = boxes.trunc().int().cpu()
    left_top = corners[:, :2].clamp(min=1) - 1
    right_bottom = torch.minimum(corners[:, 2:], torch.tensor([width, height], dtype=torch.int32))
    inside = (right_bottom > left_top).all(dim=1)
    places = torch.cat([left_top, right_bottom], dim=1)[inside].numpy()
    patches = [
        _resized(picture[:, :, top:bottom, left:right], (side_px, side_px))
        for left, top, right, bottom in places
    ]
    kept = boxes[inside.to(boxes.device)]
    return kept, torch.cat(patches) if patches else torch.zeros(0, 3, side_px, side_px, device=picture.device)


def _in_batches(network: torch.nn.Module, patches: Tensor) -> tuple[Tensor, ...]:
    starts = range(0, len(patches), _MAX_BATCH)
    parts: list[tuple[Tensor, ...]] = [network(patches[start : start + _MAX_BATCH]) for start in starts]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def _shifted(boxes: Tensor, offsets: Tensor) -> Tensor:
    return boxes + offsets * (boxes[:, 2:4] - boxes[:, :2] + 1).repeat(1, 2)


def _squared(boxes: Tensor) -> Tensor:
    sides = boxes[:, 2:4] - boxes[:, :2]
    side = sides.amax(dim=1, keepdim=True)
    left_top = boxes[:, :2] + sides / 2 - side / 2
    return torch.cat([left_top, left_top + side], dim=1)


def _best_of_overlapping(boxes: Tensor, scores: Tensor) -> list[int]:
    """Non-maximum suppression by the share of the smaller box that is covered: a box within a box is one
    face."""
    sides = boxes[:, 2:4] - boxes[:, :2] + 1
    areas = sides.prod(dim=1)
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).cpu().numpy():
        shared = (
            torch.minimum(boxes[index, 2:4], boxes[kept, 2:4])
            - torch.maximum(boxes[index, :2], boxes[kept, :2])
            + 1
        )
        covered = shared.clamp(min=0).prod(dim=1) / torch.minimum(areas[index], areas[kept])
        if not bool((covered > 0.7).any()):
            kept.append(int(index))
    return kept
