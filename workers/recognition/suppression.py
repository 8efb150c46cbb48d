"""Of boxes that cover each other, the one with the best score (non-maximum suppression)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 256
"""So many boxes are compared with each other at once, which bounds the memory that a crowd takes."""


@dataclass(frozen=True)
class Overlap:
    """How much two boxes may share: a part of what they cover together, or `of_smaller` of the two.

    `edge_px` is added to each side: 1 when a box's right and bottom pixel are its own."""

    most: float
    of_smaller: bool = False
    edge_px: float = 0


def best_of_overlapping(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], groups: NDArray[np.int64], overlap: Overlap
) -> NDArray[np.int64]:
    """Places of those boxes [n, 4] that share too much with no better one of their group [n]; group by group,
    the best first."""
    order = np.lexsort((-scores, groups))
    kept = np.zeros(0, np.int64)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        # Earlier groups are done with: only the one that goes on into this block may still suppress.
        rivals = kept[groups[kept] == groups[block[0]]]
        block = block[~_covered(boxes, groups, block, rivals, overlap).any(axis=1)]
        kept = np.concatenate([kept, block[_uncovered(_covered(boxes, groups, block, block, overlap))]])
    return kept


def _uncovered(covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Who is covered by nobody that stays, where covered[i, j] says that j covers i; the better come first.

    Whoever depends on no other is right after the first turn, and each turn settles one more link of the
    longest chain."""
    earlier = np.tril(covered, -1)
    stays = np.ones(len(covered), np.bool_)
    while True:
        now: NDArray[np.bool_] = np.logical_not((earlier & stays).any(axis=1))
        if np.array_equal(now, stays):
            return stays
        stays = now


def _covered(
    boxes: NDArray[np.float32],
    groups: NDArray[np.int64],
    these: NDArray[np.int64],
    others: NDArray[np.int64],
    overlap: Overlap,
) -> NDArray[np.bool_]:
    """[i, j]: whether the first's i and the other's j are of one group and share too much."""
    one, other = boxes[these][:, None], boxes[others][None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.maximum(sides + overlap.edge_px, 0).prod(axis=2)
    first, second = ((box[..., 2:] - box[..., :2] + overlap.edge_px).prod(axis=2) for box in (one, other))
    whole = np.minimum(first, second) if overlap.of_smaller else first + second - shared
    # A share of exactly that much does not depend on how float32 rounds it.
    return (shared / whole > np.float64(overlap.most)) & (groups[these][:, None] == groups[others][None])
