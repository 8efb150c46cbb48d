"""The photos are who and what they are said to be, and a damaged one is replaced."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from scripts.photos import Photos, prepare_photos

pytestmark = pytest.mark.system


def test_somebody_has_photos_to_enrol_and_another_to_search_with(photos: Photos) -> None:
    assert len(photos.people) == 4
    assert any(photos.probes(name) for name in photos.people)
    for name in photos.people:
        assert photos.enrolment(name)
        assert not set(photos.enrolment(name)) & set(photos.probes(name))


def test_each_photo_is_one_that_can_be_opened(photos: Photos) -> None:
    files = [path for paths in photos.people.values() for path in paths]
    files += [photos.stranger, photos.no_face, *photos.half_faces, photos.with_alpha]
    assert len(set(files)) == len(files)
    for path in files:
        with Image.open(path) as image:
            image.load()
            assert (image.mode == "RGBA") == (path == photos.with_alpha)


def test_a_damaged_photo_is_fetched_again(photos: Photos, tmp_path: Path) -> None:
    shutil.copytree(photos.stranger.parent.parent, tmp_path / "photos")
    damaged = tmp_path / "photos" / photos.stranger.parent.name / photos.stranger.name
    damaged.write_bytes(damaged.read_bytes()[:1000])
    assert prepare_photos(tmp_path).stranger.read_bytes() == photos.stranger.read_bytes()
    assert [path.name for path in damaged.parent.iterdir()] == [photos.stranger.name]
