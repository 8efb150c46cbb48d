"""A picture in many sizes, laid out on one canvas, so that a network looks at all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.recognition.mtcnn_networks import UNSEEN

CELL_PX: Final = 12
"""What the first network looks at, and so the smallest face at scale 1."""
STRIDE_PX: Final = 2
PYRAMID_FACTOR: Final = 0.709
"""Each level has half the area of the one before."""
_ROUNDED_TO_PX: Final = 64
"""Canvases come in few sizes: the network is prepared anew for each, which takes longer than its answer."""


@dataclass(frozen=True)
class Level:
    """The picture in one size, and where on the canvas it lies."""

    scale: float
    height: int
    width: int
    top: int
    left: int


@dataclass(frozen=True)
class Canvas:
    """Where everything lies. `level_of_cell` [rows, columns] says of each cell of the network which level it
    sees, or -1; `unseen` is what the network is to add to its first layer."""

    height: int
    width: int
    levels: tuple[Level, ...]
    level_of_cell: NDArray[np.int16]
    unseen: NDArray[np.float32]


@dataclass
class _Shelf:
    top: int
    height: int
    room: int
    left: int = 0


@lru_cache(maxsize=64)
def canvas_for(height: int, width: int, min_face_px: float) -> Canvas:
    """The canvas for a picture of that size in which faces of at least so many pixels are looked for; without
    levels when none can be there."""
    levels = _laid_out(
        [
            (scale, int(height * scale + 1), int(width * scale + 1))
            for scale in _scales(height, width, min_face_px)
        ]
    )
    down = _rounded(max((level.top + level.height for level in levels), default=0))
    across = _rounded(max((level.left + level.width for level in levels), default=0))
    cells = np.full((_cells(down), _cells(across)), -1, np.int16)
    unseen = np.full((max(0, down - 2), max(0, across - 2)), UNSEEN, np.float32)
    for number, level in enumerate(levels):
        row, column = level.top // STRIDE_PX, level.left // STRIDE_PX
        cells[row : row + _cells(level.height), column : column + _cells(level.width)] = number
        unseen[level.top : level.top + level.height - 2, level.left : level.left + level.width - 2] = 0
    cells.setflags(write=False)
    unseen.setflags(write=False)
    return Canvas(down, across, levels, cells, unseen)


def _scales(height: int, width: int, min_face_px: float) -> list[float]:
    scales: list[float] = []
    scale = CELL_PX / min_face_px
    while min(height, width) * scale >= CELL_PX:
        scales.append(scale)
        scale *= PYRAMID_FACTOR
    return scales


def _laid_out(sizes: Sequence[tuple[float, int, int]]) -> tuple[Level, ...]:
    """On shelves as wide as the first and largest, each level on the first that has room."""
    shelves: list[_Shelf] = []
    levels: list[Level] = []
    for scale, height, width in sizes:
        shelf = next((shelf for shelf in shelves if height <= shelf.height and width <= shelf.room), None)
        if shelf is None:
            shelf = _Shelf(sum(_spaced(above.height) for above in shelves), height, sizes[0][2])
            shelves.append(shelf)
        levels.append(Level(scale, height, width, shelf.top, shelf.left))
        shelf.left += _spaced(width)
        shelf.room -= _spaced(width)
    return tuple(levels)


def _spaced(side: int) -> int:
    """With room for the pixel that the last cell sees beyond an odd side, and even: cells begin every two."""
    return side + 2 + side % 2


def _cells(side: int) -> int:
    """How many cells the network has over so many pixels."""
    return max(0, (side - STRIDE_PX + 1) // STRIDE_PX - (CELL_PX - STRIDE_PX * 2) // STRIDE_PX)


def _rounded(side: int) -> int:
    return -(-side // _ROUNDED_TO_PX) * _ROUNDED_TO_PX
