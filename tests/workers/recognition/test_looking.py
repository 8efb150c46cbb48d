"""How closely a photo is looked at, and how often it is decoded for that: real photos in large scenes."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infra.clock import SystemClock
from schemas.recognition import Box, PhotoLimits, Purpose, QualityPolicy
from scripts.photos import Photos
from workers.recognition.analysis import PhotoRequest
from workers.recognition.detector import DetectedFace, Detector
from workers.recognition.looking import Looking
from workers.recognition.opened_photo import MAX_OPENINGS, OpenedPhoto, View
from workers.recognition.opener import open_photo
from workers.recognition.quality import measure

pytestmark = pytest.mark.system

WIDTH, HEIGHT = 1920, 1080


class Opener:
    """Opens photos, and remembers what of them was wanted."""

    def __init__(self) -> None:
        self.opened: list[OpenedPhoto] = []

    def __call__(self, photo: bytes, /, *, view: View) -> OpenedPhoto:
        opened = open_photo(photo, PhotoLimits(), view)
        self.opened.append(replace(opened, pixels=opened.pixels.copy()))
        return opened

    @property
    def reductions(self) -> list[int]:
        return [round(opened.scale[0]) for opened in self.opened]


class Scene:
    """People in a room of 1080p, each as wide as a test wants."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        coarse = generator.integers(90, 150, (27, 48, 3), dtype=np.uint8)
        self.image = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)

    def add(self, path: Path, face_px: int, centre: tuple[int, int]) -> "Scene":
        with Image.open(path) as image:
            person = image.convert("RGB")
        box = find(encoded(person, "PNG")).box
        factor = face_px / box.width
        person = person.resize((round(person.width * factor), round(person.height * factor)))
        left = round(centre[0] - (box.x + box.width / 2) * factor)
        top = round(centre[1] - (box.y + box.height / 2) * factor)
        self.image.paste(person, (left, top))
        return self

    def jpeg(self, **options: object) -> bytes:
        return encoded(self.image, "JPEG", quality=92, **options)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


DETECTOR = Detector(2)
MIDDLE = (WIDTH // 2, HEIGHT // 2)


def find(photo: bytes) -> DetectedFace:
    return look(photo)[0].faces()[0]


def look(
    photo: bytes, purpose: Purpose = "probe", *, all_faces: bool = False, policy: QualityPolicy | None = None
) -> tuple[Looking, Opener]:
    opener = Opener()
    request = PhotoRequest(photo, purpose, all_faces, policy or QualityPolicy())
    return Looking(request, DETECTOR, opener, SystemClock()), opener


def centre_of(box: Box) -> tuple[float, float]:
    return box.x + box.width / 2, box.y + box.height / 2


def test_a_large_face_takes_one_reduced_decode(photos: Photos) -> None:
    looking, opener = look(Scene().add(photos.people["Barack Obama"][0], 400, MIDDLE).jpeg())
    (face,) = looking.faces()
    looking.crops([face])
    assert opener.reductions == [2]
    assert (looking.width_px, looking.height_px) == (WIDTH, HEIGHT)
    assert face.box.width == pytest.approx(400, rel=0.1)
    assert centre_of(face.box) == pytest.approx(MIDDLE, abs=25)


def test_a_smaller_face_is_cut_from_a_larger_decode_of_its_part(photos: Photos) -> None:
    looking, opener = look(Scene().add(photos.people["Barack Obama"][0], 220, MIDDLE).jpeg())
    (face,) = looking.faces()
    looking.crops([face])
    assert opener.reductions == [2, 1]
    part = opener.opened[1].pixels
    assert face.box.width * 1.2 < part.shape[1] < face.box.width * 1.4


@pytest.mark.parametrize("face_px", [220, 400])
def test_the_crop_is_that_of_the_whole_photo(photos: Photos, face_px: int) -> None:
    photo = Scene().add(photos.people["Barack Obama"][0], face_px, MIDDLE)
    looking, _ = look(photo.jpeg())
    (face,) = looking.faces()
    (crop,) = looking.crops([face])
    full, opener = look(encoded(Image.open(io.BytesIO(photo.jpeg())), "PNG"))
    (expected,) = full.crops([face])
    assert opener.reductions == [1]
    assert np.abs(crop.astype(int) - expected).mean() < 2.5
    sharpness, usual = (measure(picture, face.box, face.landmarks).sharpness for picture in (crop, expected))
    assert sharpness == pytest.approx(usual, rel=0.2)


def test_a_png_is_decoded_once(photos: Photos) -> None:
    scene = Scene().add(photos.people["Barack Obama"][0], 60, MIDDLE)
    looking, opener = look(encoded(scene.image, "PNG"))
    looking.crops(looking.faces())
    assert opener.reductions == [1]


def test_a_face_that_a_glance_overlooks_is_found(photos: Photos) -> None:
    looking, opener = look(Scene().add(photos.people["Barack Obama"][0], 60, MIDDLE).jpeg())
    (face,) = looking.faces()
    looking.crops([face])
    assert centre_of(face.box) == pytest.approx(MIDDLE, abs=10)
    assert opener.reductions == [2, 1]  # and the crop is cut from what the closer look was at


def test_a_small_face_in_the_middle_is_found_beside_a_larger_one_in_the_corner(photos: Photos) -> None:
    scene = Scene().add(photos.people["Joe Biden"][0], 150, (160, 200))
    scene.add(photos.people["Barack Obama"][0], 90, MIDDLE)
    first, *_ = look(scene.jpeg())[0].faces()
    assert centre_of(first.box) == pytest.approx(MIDDLE, abs=15)


def test_a_rival_that_matters_is_found_for_an_enrolment(photos: Photos) -> None:
    scene = Scene().add(photos.people["Barack Obama"][0], 140, (860, 540))
    scene.add(photos.people["Joe Biden"][0], 100, (1080, 540))
    assert len(look(scene.jpeg(), "enrolment")[0].faces()) == 2


def test_faces_too_small_to_matter_are_not_looked_for_unless_all_are_wanted(photos: Photos) -> None:
    scene = Scene().add(photos.people["Barack Obama"][0], 300, MIDDLE)
    scene.add(photos.people["Joe Biden"][0], 28, (200, 300))
    probe, opener = look(scene.jpeg())
    assert len(probe.faces()) == 1
    assert opener.reductions == [2]
    questions: tuple[tuple[Purpose, bool], ...] = (("probe", True), ("detection", False))
    for purpose, all_faces in questions:
        looking, opener = look(scene.jpeg(), purpose, all_faces=all_faces)
        faces = looking.faces()
        assert len(faces) == len(looking.crops(faces)) == 2
        assert opener.reductions == [1]


def test_smaller_faces_are_looked_for_when_the_policy_takes_them(photos: Photos) -> None:
    scene = Scene().add(photos.people["Barack Obama"][0], 14, (320, 240))
    photo = encoded(scene.image.crop((0, 0, 640, 480)), "JPEG", quality=95)
    assert look(photo)[0].faces() == []
    (face,) = look(photo, policy=QualityPolicy(min_face_width_px=20))[0].faces()
    assert centre_of(face.box) == pytest.approx((320, 240), abs=6)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_photo_is_looked_at_upright(photos: Photos, orientation: int) -> None:
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    scene = Scene().add(photos.people["Barack Obama"][0], 220, (700, 600))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = encoded(scene.image.transpose(turns[orientation]), "JPEG", quality=92, exif=exif)
    looking, _ = look(photo)
    (face,) = looking.faces()
    assert (looking.width_px, looking.height_px) == (WIDTH, HEIGHT)
    assert centre_of(face.box) == pytest.approx((700, 600), abs=15)
    (crop,) = looking.crops([face])
    upright, _ = look(scene.jpeg())
    (expected,) = upright.crops([face])
    assert np.abs(crop.astype(int) - expected).mean() < 3


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("L", "PNG")])
def test_every_colour_mode_shows_the_same_face(photos: Photos, mode: str, kind: str) -> None:
    scene = Scene().add(photos.people["Barack Obama"][0], 300, MIDDLE)
    looking, _ = look(encoded(scene.image.convert(mode), kind))
    (face,) = looking.faces()
    assert looking.crops([face])[0].shape == (160, 160, 3)
    assert centre_of(face.box) == pytest.approx(MIDDLE, abs=20)


def test_a_huge_photo_is_decoded_at_an_eighth(photos: Photos) -> None:
    scene = Scene().add(photos.people["Barack Obama"][0], 400, MIDDLE)
    huge = scene.image.resize((WIDTH * 4, HEIGHT * 4), Image.Resampling.BICUBIC)
    looking, opener = look(encoded(huge, "JPEG", quality=85))
    (face,) = looking.faces()
    looking.crops([face])
    assert opener.reductions == [8]
    assert face.box.width == pytest.approx(1600, rel=0.1)


def test_a_photo_without_a_face_is_looked_at_twice(photos: Photos) -> None:
    with Image.open(photos.no_face) as cat:
        large = cat.convert("RGB").resize((WIDTH, HEIGHT))
    looking, opener = look(encoded(large, "JPEG"))
    assert looking.faces() == []
    assert opener.reductions == [2, 1]
    assert len(opener.opened) <= MAX_OPENINGS
