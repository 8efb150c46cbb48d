"""Finding faces: agreement with facenet-pytorch's own MTCNN, and pictures that are no portraits."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from PIL import Image

from schemas.recognition import Box, PhotoLimits
from scripts.photos import Photos
from workers.recognition.detector import Detector
from workers.recognition.mtcnn import Cascade, Picture
from workers.recognition.opened_photo import of_pixels
from workers.recognition.opener import open_photo
from workers.recognition.prominence import prominence


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(2)


@pytest.mark.parametrize("size", [(20, 20), (39, 39), (40, 40), (20, 3000), (3000, 20), (1, 1), (300, 200)])
@pytest.mark.parametrize("content", ["black", "white", "noise"])
def test_pictures_without_a_face_have_none(detector: Detector, size: tuple[int, int], content: str) -> None:
    width, height = size
    pixels = np.full((height, width, 3), 255 if content == "white" else 0, np.uint8)
    if content == "noise":
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    assert detector.detect(of_pixels(pixels)) == []


def photo(path: Path) -> NDArray[np.uint8]:
    return open_photo(path.read_bytes(), PhotoLimits()).pixels


def all_of(photos: Photos) -> list[Path]:
    return [*itertools.chain(*photos.people.values()), *photos.half_faces, photos.with_alpha, photos.no_face]


@pytest.mark.system
@pytest.mark.parametrize("min_face_px", [20, 40])
def test_the_cascade_finds_what_facenet_pytorch_finds(photos: Photos, min_face_px: int) -> None:
    ours = Cascade(2)
    theirs: Any = MTCNN(keep_all=True, min_face_size=min_face_px)
    for path in all_of(photos):
        pixels = np.array(Image.fromarray(photo(path)).resize((400, 500)))
        (found,) = ours.detect([Picture(pixels, min_face_px)])
        boxes, probabilities, points = theirs.detect(pixels, landmarks=True)
        if boxes is None:
            assert len(found.boxes) == 0
            continue
        order = np.argsort(-np.prod(found.boxes[:, 2:] - found.boxes[:, :2], axis=1))
        np.testing.assert_allclose(found.boxes[order], boxes.astype(np.float32), atol=0.05)
        np.testing.assert_allclose(found.points[order], points.astype(np.float32), atol=0.05)
        np.testing.assert_allclose(found.probabilities[order], probabilities.astype(np.float32), atol=1e-4)


@pytest.mark.system
def test_a_reduced_photo_gives_the_same_face_at_full_size(photos: Photos, detector: Detector) -> None:
    small = photo(photos.people["Barack Obama"][0])
    height, width = small.shape[:2]
    large = np.array(Image.fromarray(small).resize((width * 4, height * 4), Image.Resampling.BICUBIC))
    one, other = detector.detect(of_pixels(small))[0], detector.detect(of_pixels(large))[0]
    for name in ("x", "y", "width", "height"):
        assert getattr(other.box, name) / 4 == pytest.approx(getattr(one.box, name), abs=0.06 * one.box.width)
    assert other.landmarks.nose.x / 4 == pytest.approx(one.landmarks.nose.x, abs=0.06 * one.box.width)


@pytest.mark.system
def test_landmarks_lie_as_in_the_picture(photos: Photos, detector: Detector) -> None:
    face = detector.detect(of_pixels(photo(photos.people["Barack Obama"][0])))[0]
    points, box = face.landmarks, face.box
    assert box.x < points.left_eye.x < points.nose.x < points.right_eye.x < box.x + box.width
    assert box.y < points.left_eye.y < points.nose.y < points.mouth_left.y < box.y + box.height
    assert 0.99 < face.confidence <= 1


@pytest.mark.system
def test_faces_come_by_prominence(photos: Photos, detector: Detector) -> None:
    centre, corner = (
        Image.fromarray(photo(photos.people[name][0])).resize((300, 380))
        for name in ("Barack Obama", "Joe Biden")
    )
    scene = Image.new("RGB", (1000, 600))
    scene.paste(corner, (0, 0))
    scene.paste(centre, (350, 110))
    faces = detector.detect(of_pixels(np.array(scene)))
    assert len(faces) == 2
    assert faces[0].box.x > 350 > faces[1].box.x


def test_prominence_weighs_size_and_place() -> None:
    centred = Box(x=450, y=250, width=100, height=100)
    beside = Box(x=250, y=250, width=100, height=100)
    larger = Box(x=200, y=200, width=200, height=200)
    speck = Box(x=490, y=290, width=20, height=20)
    cut_off = Box(x=-80, y=250, width=100, height=100)
    order = sorted([speck, cut_off, beside, centred, larger], key=lambda box: prominence(box, 1000, 600))
    assert order[-1] in (larger, centred)
    assert prominence(centred, 1000, 600) == 100 * 100
    assert prominence(centred, 1000, 600) > prominence(beside, 1000, 600)
    assert prominence(larger, 1000, 600) > prominence(beside, 1000, 600) > prominence(speck, 1000, 600)
    assert prominence(cut_off, 1000, 600) < prominence(speck, 1000, 600)


def test_prominence_does_not_depend_on_the_resolution() -> None:
    one = prominence(Box(x=100, y=50, width=80, height=90), 640, 480)
    other = prominence(Box(x=300, y=150, width=240, height=270), 1920, 1440)
    assert other == pytest.approx(9 * one)
