"""The synthetic gallery of `faceid bench scale`: companies, their templates as a file, and the exact answer
to a probe."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from infra.vectors.port import Hit, Point
from scripts.bench.population import DIMENSIONS, Population, Templates

_SHARE_OF_BIG = 0.7
_SHARE_OF_SMALL = 0.02
_EXACT_AT_ONCE = 50_000
_TIE = 1e-5
"""Float32 sums in another order differ by less; a hit so near the best is as good as the best."""


@dataclass(frozen=True)
class Slot:
    """A company and its rows in the file of templates."""

    company_id: UUID
    first: int
    faces: int


def companies(faces: int) -> list[Slot]:
    """One company with 70 % of the faces, and small ones with 2 % each."""
    big = int(faces * _SHARE_OF_BIG)
    small = max(1, int(faces * _SHARE_OF_SMALL))
    sizes = [big, *([small] * ((faces - big) // small))]
    sizes[0] += faces - sum(sizes)
    starts = np.cumsum([0, *sizes])
    return [
        Slot(UUID(int=number + 1), int(start), size)
        for number, (start, size) in enumerate(zip(starts, sizes, strict=False))
    ]


@dataclass(frozen=True)
class SyntheticGallery:
    """`rows` templates of a population, kept as a file so that memory stays flat."""

    population: Population
    photos: int
    rows: int
    templates: NDArray[np.float32]

    @classmethod
    def make(cls, file: Path, population: Population, photos: int, rows: int) -> "SyntheticGallery":
        templates = np.memmap(file, np.float32, "w+", shape=(rows, DIMENSIONS))
        for block, start in enumerate(range(0, rows, population.block)):
            part = population.templates(block)[: rows - start]
            templates[start : start + len(part)] = part
        return cls(population, photos, rows, templates)

    def points(self, first: int, rows: int, at_once: int) -> Iterator[list[Point]]:
        """Index entries of these rows. A face's id is its row's number, a user's hash that of the user."""
        for start in range(first, first + rows, at_once):
            part = np.array(self.templates[start : min(start + at_once, first + rows)])
            yield [
                Point(UUID(int=row + 1), vector, f"{row // self.photos:032x}", (), row + 1)
                for row, vector in enumerate(part, start)
            ]

    def probes(self, slot: Slot, number: int, seed: int) -> Templates:
        """New photos: one half of people of the company, the other of strangers."""
        rng = np.random.default_rng((seed, slot.first))
        known = rng.integers(slot.first, slot.first + slot.faces, size=(number + 1) // 2)
        users = known // self.photos
        users_at_once = self.population.block // self.photos
        found = [
            self.population.another_photo(int(user) // users_at_once, [int(user) % users_at_once], seed=turn)
            for turn, user in enumerate(users)
        ]
        beyond = 1 + self.rows // self.population.block + seed
        strangers = self.population.templates(beyond)[: number // 2]
        mixed = np.concatenate([*found, strangers])
        return mixed[rng.permutation(len(mixed))]

    def best(self, slot: Slot, probes: Templates) -> NDArray[np.float32]:
        """The highest cosine of each probe in the company, by comparing it with everybody."""
        best = np.full(len(probes), -1, dtype=np.float32)
        for start in range(slot.first, slot.first + slot.faces, _EXACT_AT_ONCE):
            part = self.templates[start : min(start + _EXACT_AT_ONCE, slot.first + slot.faces)]
            best = np.maximum(best, (probes @ part.T).max(axis=1))
        return best

    def hits_at_first(self, slot: Slot, probes: Templates, answers: list[list[Hit]]) -> int:
        """For how many probes the first answer is the nearest template there is. The cosine is reckoned
        here from the row that the answer names: what the index says of it proves nothing."""
        best = self.best(slot, probes)
        right = 0
        for probe, highest, hits in zip(probes, best, answers, strict=True):
            row = hits[0].face_id.int - 1 if hits else -1
            inside = slot.first <= row < slot.first + slot.faces
            right += inside and bool(probe @ self.templates[row] >= highest - _TIE)
        return right
