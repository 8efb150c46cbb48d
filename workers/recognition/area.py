"""Means over rectangles of pictures, many at once, from tables of running sums: with four look-ups each,
however large a rectangle is."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_CHANNELS: Final = 3
_CENTRE: Final = np.float32(127.5 / 128)
_SPREAD: Final = np.float32(128)


class AreaTables:
    """Running sums of some pictures, RGB of at most 8 megapixels each.

    Pictures are resized as PyTorch's `interpolate(mode="area")` does, each pixel of the outcome the mean of
    all that it touches, and standardised to (x - 127.5) / 128."""

    def __init__(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        """Of uint8 [height, width, 3] each."""
        self.heights = np.array([picture.shape[0] for picture in pictures], np.int64)
        self.widths = np.array([picture.shape[1] for picture in pictures], np.int64)
        sizes = (self.heights + 1) * (self.widths + 1)
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._sums = np.empty((int(self._starts[-1]), _CHANNELS), np.int32)
        for place, picture in enumerate(pictures):
            _accumulate(picture, self._table(place))

    def resized(self, place: int, height: int, width: int) -> NDArray[np.float32]:
        """One of the pictures, whole: [height, width, 3]."""
        table = self._table(place)
        top, bottom = _windows(self.heights[place], height)
        left, right = _windows(self.widths[place], width)
        rows = np.take(table, bottom, axis=0) - np.take(table, top, axis=0)
        sums = np.take(rows, right, axis=1) - np.take(rows, left, axis=1)
        return _standardised(sums, (bottom - top)[:, None] * (right - left)[None, :])

    def patches(
        self, places: NDArray[np.int64], rectangles: NDArray[np.int64], side_px: int
    ) -> NDArray[np.float32]:
        """Parts of the pictures at those places, each [left, top, right, bottom] in its picture and not
        empty: [n, side_px, side_px, 3]."""
        left, top, right, bottom = rectangles.T
        rows = np.concatenate(_windows(bottom - top, side_px), axis=1) + top[:, None]
        columns = np.concatenate(_windows(right - left, side_px), axis=1) + left[:, None]
        rows_start = rows * (self.widths[places] + 1)[:, None] + self._starts[places][:, None]
        corners = np.take(self._sums, rows_start[:, :, None] + columns[:, None, :], axis=0)
        strips = corners[:, side_px:] - corners[:, :side_px]
        sums = strips[:, :, side_px:] - strips[:, :, :side_px]
        heights, widths = (ends[:, side_px:] - ends[:, :side_px] for ends in (rows, columns))
        return _standardised(sums, heights[:, :, None] * widths[:, None, :])

    def _table(self, place: int) -> NDArray[np.int32]:
        table = self._sums[self._starts[place] : self._starts[place + 1]]
        return table.reshape(int(self.heights[place]) + 1, int(self.widths[place]) + 1, _CHANNELS)


def _accumulate(picture: NDArray[np.uint8], table: NDArray[np.int32]) -> None:
    table[0], table[:, 0] = 0, 0
    np.cumsum(picture.astype(np.int32), axis=1, out=table[1:, 1:])
    rows = table.reshape(len(table), -1)
    np.cumsum(rows, axis=0, out=rows)


def _windows(
    extents: NDArray[np.int64] | np.int64, cells: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each of the cells begins and ends in an extent: [..., cells] each, and neighbours may share
    pixels."""
    begun = np.arange(cells) * np.asarray(extents)[..., None]
    return begun // cells, -(-(begun + np.asarray(extents)[..., None]) // cells)


def _standardised(sums: NDArray[np.int32], areas: NDArray[np.int64]) -> NDArray[np.float32]:
    shares = np.float32(1) / (_SPREAD * areas.astype(np.float32))
    standardised = np.multiply(sums, shares[..., None], dtype=np.float32, casting="unsafe")
    standardised -= _CENTRE
    return standardised
