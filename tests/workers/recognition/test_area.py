"""Means over rectangles: the same as PyTorch's area interpolation."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from workers.recognition.area import AreaTables


def pictures() -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(0)
    sizes = [(37, 90), (1, 1), (64, 48), (2000, 3)]
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def theirs(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    tensor = torch.tensor(pixels).permute(2, 0, 1)[None].float()
    resized = functional.interpolate(tensor, size=(height, width), mode="area")
    return ((resized - 127.5) / 128)[0].permute(1, 2, 0).numpy()


def test_whole_pictures() -> None:
    tables = AreaTables(pictures())
    for place, pixels in enumerate(pictures()):
        for size in ((1, 1), (7, 5), (24, 24), (50, 130)):
            np.testing.assert_allclose(tables.resized(place, *size), theirs(pixels, *size), atol=1e-5)


def test_parts_of_several_pictures_at_once() -> None:
    places = np.array([0, 2, 0, 1, 3])
    rectangles = np.array([[3, 4, 50, 30], [0, 0, 48, 64], [89, 36, 90, 37], [0, 0, 1, 1], [1, 0, 3, 2000]])
    patches = AreaTables(pictures()).patches(places, rectangles, 24)
    for number, patch in enumerate(patches):
        left, top, right, bottom = (int(edge) for edge in rectangles[number])
        pixels = pictures()[int(places[number])]
        np.testing.assert_allclose(patch, theirs(pixels[top:bottom, left:right], 24, 24), atol=1e-5)


def test_white_does_not_overflow() -> None:
    tables = AreaTables([np.full((2560, 2560, 3), 255, np.uint8)])
    np.testing.assert_allclose(tables.resized(0, 2, 2), 127.5 / 128, atol=1e-6)
