"""The crop that the weights were trained on."""

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.recognition import Box
from workers.recognition.crop import crop_face
from workers.recognition.opened_photo import of_pixels


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)


def test_a_fifth_of_the_crop_is_margin(pixels: NDArray[np.uint8]) -> None:
    # 128 px of box and 16 px around it fill the crop of 160 px exactly, so nothing is resized.
    assert np.array_equal(
        crop_face(of_pixels(pixels), Box(x=100, y=60, width=128, height=128)), pixels[44:204, 84:244]
    )


def test_the_box_is_stretched_to_a_square(pixels: NDArray[np.uint8]) -> None:
    pixels[:] = np.linspace(0, 255, 300).astype(np.uint8)[:, None, None]
    assert crop_face(of_pixels(pixels), Box(x=100, y=50, width=64, height=160)).shape == (160, 160, 3)


def test_what_lies_outside_of_the_photo_is_left_out(pixels: NDArray[np.uint8]) -> None:
    pixels[:] = 200
    cropped = crop_face(of_pixels(pixels), Box(x=-50, y=-60, width=128, height=128))
    assert (cropped == 200).all()


@pytest.mark.parametrize(("x", "y"), [(-200, 0), (500, 0), (0, -200), (0, 500)])
def test_a_box_outside_of_the_photo_is_an_error(pixels: NDArray[np.uint8], x: float, y: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        crop_face(of_pixels(pixels), Box(x=x, y=y, width=100, height=100))
