"""The cascade of three small networks that finds faces and their five points (MTCNN, Zhang et al. 2016).

Weights and steps are facenet-pytorch's, with which it agrees (a test checks that), laid out for speed: all
sizes of a picture are looked at in one go, and candidates of all pictures together. That package raises on
photos without candidates, on candidates outside of the picture and on very small pictures; this does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.recognition.area import AreaTables
from workers.recognition.mtcnn_networks import Network, load_networks
from workers.recognition.pyramid import CELL_PX, STRIDE_PX, Canvas, canvas_for
from workers.recognition.suppression import Overlap, best_of_overlapping

_THRESHOLDS: Final = (0.6, 0.7, 0.7)
_MAX_BATCH: Final = 512
_MIN_BATCH: Final = 4
_WITHIN_LEVEL: Final = Overlap(0.5)
_BETWEEN_CANDIDATES: Final = Overlap(0.7)
_BETWEEN_FACES: Final = Overlap(0.7, of_smaller=True, edge_px=1)
"""A box within a box is one face."""


@dataclass(frozen=True)
class Picture:
    """RGB pixels [height, width, 3], and how large a face must be to be looked for."""

    pixels: NDArray[np.uint8]
    min_face_px: float


@dataclass(frozen=True)
class Detections:
    """Faces in pixels of the picture: boxes [n, 4] (left, top, right, bottom), points [n, 5, 2],
    probabilities [n]."""

    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class _Candidates:
    """Boxes [n, 4] and the pictures that they are in, by their places [n]."""

    boxes: NDArray[np.float32]
    places: NDArray[np.int64]

    def __getitem__(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> "_Candidates":
        return _Candidates(self.boxes[which], self.places[which])


class Cascade:
    """MTCNN on some pictures at a time. Not for several threads at once."""

    def __init__(self, threads: int) -> None:
        """Raises `WeightsError`."""
        self._networks = load_networks(threads)

    def detect(self, pictures: Sequence[Picture]) -> list[Detections]:
        """The faces in each; none at all is a valid answer."""
        tables = AreaTables([picture.pixels for picture in pictures])
        proposed = [
            self._propose(tables, place, picture.min_face_px) for place, picture in enumerate(pictures)
        ]
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *proposed])
        places = np.repeat(np.arange(len(pictures)), [len(found) for found in proposed])
        return self._finish(tables, self._refine(tables, _Candidates(boxes, places)), len(pictures))

    def _propose(self, tables: AreaTables, place: int, min_face_px: float) -> NDArray[np.float32]:
        """Candidates from all levels of the pyramid: [n, 4], square."""
        canvas = canvas_for(int(tables.heights[place]), int(tables.widths[place]), min_face_px)
        if not canvas.levels:
            return np.zeros((0, 4), np.float32)
        probabilities, offsets = self._networks.proposal(
            _painted(tables, place, canvas)[None], canvas.unseen[None, None]
        )
        rows, columns = np.nonzero((probabilities[0] >= _THRESHOLDS[0]) & (canvas.level_of_cell >= 0))
        scores, offsets = probabilities[0, rows, columns], offsets[0, rows, columns]
        levels = canvas.level_of_cell[rows, columns].astype(np.int64)
        corners = _corners(canvas, levels, rows, columns)
        kept = best_of_overlapping(corners, scores, levels, _WITHIN_LEVEL)
        kept = kept[
            best_of_overlapping(
                corners[kept], scores[kept], np.zeros(len(kept), np.int64), _BETWEEN_CANDIDATES
            )
        ]
        corners = corners[kept]
        return _squared(corners + offsets[kept] * np.tile(corners[:, 2:] - corners[:, :2], 2))

    def _refine(self, tables: AreaTables, candidates: _Candidates) -> _Candidates:
        candidates, rectangles = _visible(tables, candidates)
        scores, offsets = _in_batches(self._networks.refinement, tables, candidates.places, rectangles, 24)
        passed = scores > _THRESHOLDS[1]
        candidates, scores, offsets = candidates[passed], scores[passed], offsets[passed]
        kept = best_of_overlapping(candidates.boxes, scores, candidates.places, _BETWEEN_CANDIDATES)
        return _Candidates(_squared(_shifted(candidates.boxes[kept], offsets[kept])), candidates.places[kept])

    def _finish(self, tables: AreaTables, candidates: _Candidates, pictures: int) -> list[Detections]:
        candidates, rectangles = _visible(tables, candidates)
        scores, offsets, relative = _in_batches(
            self._networks.output, tables, candidates.places, rectangles, 48
        )
        passed = scores > _THRESHOLDS[2]
        candidates, scores, offsets, relative = (
            candidates[passed],
            scores[passed],
            offsets[passed],
            relative[passed],
        )
        boxes = candidates.boxes
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        relative = relative.reshape(-1, 2, 5).transpose(0, 2, 1)
        points = np.asarray(relative * sides[:, None] + boxes[:, None, :2] - 1, np.float32)
        boxes = _shifted(boxes, offsets)
        kept = best_of_overlapping(boxes, scores, candidates.places, _BETWEEN_FACES)
        of_each = [kept[candidates.places[kept] == place] for place in range(pictures)]
        return [Detections(boxes[which], points[which], scores[which]) for which in of_each]


def _painted(tables: AreaTables, place: int, canvas: Canvas) -> NDArray[np.float32]:
    painted = np.zeros((canvas.height, canvas.width, 3), np.float32)
    for level in canvas.levels:
        picture = tables.resized(place, level.height, level.width)
        painted[level.top : level.top + level.height, level.left : level.left + level.width] = picture
    return painted


def _corners(
    canvas: Canvas, levels: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """What the cells see, in whole pixels of the picture."""
    starts = np.array([(level.left, level.top) for level in canvas.levels], np.float32)[levels]
    scales = np.array([level.scale for level in canvas.levels], np.float32)[levels][:, None]
    places = np.stack([columns, rows], axis=1).astype(np.float32) * STRIDE_PX - starts
    return np.floor(np.concatenate([places + 1, places + CELL_PX], axis=1) / scales)


def _visible(tables: AreaTables, candidates: _Candidates) -> tuple[_Candidates, NDArray[np.int64]]:
    """The candidates that overlap their pictures, and what lies inside of both."""
    corners = np.trunc(candidates.boxes).astype(np.int64)
    sizes = np.stack([tables.widths, tables.heights], axis=1)[candidates.places]
    rectangles = np.concatenate(
        [np.maximum(corners[:, :2], 1) - 1, np.minimum(corners[:, 2:], sizes)], axis=1
    )
    inside = np.flatnonzero((rectangles[:, 2:] > rectangles[:, :2]).all(axis=1))
    return candidates[inside], rectangles[inside]


def _in_batches(
    network: Network,
    tables: AreaTables,
    places: NDArray[np.int64],
    rectangles: NDArray[np.int64],
    side_px: int,
) -> list[NDArray[np.float32]]:
    """What a network says of those parts of the pictures."""
    parts = [
        _answers(network, tables.patches(places[start:end], rectangles[start:end], side_px))
        for start in range(0, max(1, len(places)), _MAX_BATCH)
        for end in (start + _MAX_BATCH,)
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _answers(network: Network, patches: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Batches come in few sizes (4, 6, 8, 12, 16, 24 …): the network is prepared anew for each, which takes
    longer than its answer."""
    batch = 1 << (max(_MIN_BATCH, len(patches)) - 1).bit_length()
    if len(patches) <= batch * 3 // 4 and batch > _MIN_BATCH:
        batch = batch * 3 // 4
    filled = np.zeros((batch, *patches.shape[1:]), np.float32)
    filled[: len(patches)] = patches
    return [answer[: len(patches)] for answer in network(filled)]


def _shifted(boxes: NDArray[np.float32], offsets: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2), np.float32)


def _squared(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = boxes[:, 2:] - boxes[:, :2]
    side = sides.max(axis=1, keepdims=True)
    left_top = boxes[:, :2] + (sides - side) / 2
    return np.concatenate([left_top, left_top + side], axis=1)
