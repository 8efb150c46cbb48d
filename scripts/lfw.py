"""Labelled Faces in the Wild, as far as measuring needs it: the View-1 lists, and templates of the photos.

The photos are for measurement only. Nothing of one of them, a template included, is kept.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from workers.recognition.analysis import Analysis, PhotoRequest
from workers.recognition.pipeline import FacePipeline

_BATCH: Final = 32


@dataclass(frozen=True, order=True)
class Photo:
    """One of the data set's photos."""

    name: str
    number: int

    def path(self, lfw_dir: Path) -> Path:
        return lfw_dir / "images" / self.name / f"{self.name}_{self.number:04d}.jpg"


@dataclass(frozen=True)
class Pair:
    """Two photos, and whether they show the same person."""

    first: Photo
    second: Photo
    same: bool


def photos_of(lfw_dir: Path, view_1_list: str) -> list[Photo]:
    """All photos of the people in `peopleDev{view_1_list}.csv`."""
    rows = _rows(lfw_dir / f"peopleDev{view_1_list}.csv")
    return [Photo(name, number + 1) for name, count in rows for number in range(int(count))]


def pairs_of(lfw_dir: Path, view_1_list: str) -> list[Pair]:
    """The pairs of `matchpairsDev{view_1_list}.csv` and `mismatchpairsDev{view_1_list}.csv`."""
    same = [
        Pair(Photo(name, int(first)), Photo(name, int(second)), same=True)
        for name, first, second in _rows(lfw_dir / f"matchpairsDev{view_1_list}.csv")
    ]
    different = [
        Pair(Photo(one, int(first)), Photo(other, int(second)), same=False)
        for one, first, other, second in _rows(lfw_dir / f"mismatchpairsDev{view_1_list}.csv")
    ]
    return same + different


def templates_of(
    photos: Iterable[Photo], lfw_dir: Path, pipeline: FacePipeline
) -> dict[Photo, NDArray[np.float32]]:
    """The template of each photo's most prominent face; photos that the pipeline refuses are left out.

    Shows its progress on standard error."""
    wanted = sorted(set(photos))
    batches = [wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH)]
    found: dict[Photo, NDArray[np.float32]] = {}
    for batch in track(batches, f"{len(wanted)} photos", console=Console(stderr=True)):
        requests = [PhotoRequest(photo.path(lfw_dir).read_bytes(), "probe") for photo in batch]
        for photo, answer in zip(batch, pipeline.analyse(requests), strict=True):
            if isinstance(answer, Analysis):
                found[photo] = answer.faces[0].template
    return found


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.reader(file) if row][1:]
