"""A population of synthetic templates that resemble each other as much as real ones do, and nobody in
particular.

A template is the sum of what all faces share, what the faces of a group share, and the person's own part,
whose variance falls with the dimension as 1/(i + 1): normalised, and turned at random into the 128 dimensions
of a template. The constants are fitted to what the `casia-webface` calibration measured (the scores that 10 %
to 0.001 % of the pairs of different people reach, within 0.02); `agreement` says in every run how near they
come.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.calibration import Calibration

DIMENSIONS: Final = 128

_STRONG_DIMENSIONS: Final = 96
"""So many directions of FaceNet's bottleneck carry anything (docs/recognition.md)."""
_SHARED_BY_ALL: Final = 0.048
_SHARED_BY_GROUP: Final = 0.2
_GROUPS: Final = 32
_CLARITY: Final = (0.62, 0.94)
"""How much of a photo's own part is the person, least and most; the rest is the photo's."""

_WORLD_SEED: Final = 160
_USERS_AT_ONCE: Final = 4096

Templates = NDArray[np.float32]
"""Shape [n, 128], each of length 1."""


class Population:
    """Users in a fixed order with `photos` templates each, the same in every run with the same seed.

    Made in blocks, so that any number needs little memory. The photos of a user come one after another."""

    def __init__(self, seed: int, photos: int) -> None:
        self._seed = seed
        self._photos = photos
        world = np.random.default_rng(_WORLD_SEED)
        variance = 1 / np.arange(2, _STRONG_DIMENSIONS + 2)
        self._spread = np.sqrt(variance / variance.sum()).astype(np.float32)
        self._mean = world.choice((-1, 1), _STRONG_DIMENSIONS) / np.sqrt(_STRONG_DIMENSIONS)
        groups = world.normal(size=(_GROUPS, _STRONG_DIMENSIONS))
        groups -= groups.mean(axis=0)
        self._groups = groups / np.linalg.norm(groups, axis=1, keepdims=True)
        turned, _ = np.linalg.qr(world.normal(size=(DIMENSIONS, DIMENSIONS)))
        self._turn = turned[:_STRONG_DIMENSIONS].astype(np.float32)

    @property
    def block(self) -> int:
        """Templates in a block."""
        return _USERS_AT_ONCE * self._photos

    def templates(self, block: int) -> Templates:
        """The templates of a block of users."""
        rng = np.random.default_rng((self._seed, block))
        common, people = self._people(rng)
        return np.concatenate(
            [self._photos_of(common, people, rng)[:, None] for _ in range(self._photos)], axis=1
        ).reshape(-1, DIMENSIONS)

    def another_photo(self, block: int, users: Sequence[int], seed: int) -> Templates:
        """One more photo, not among the templates, of each of these users of a block (by place in it)."""
        common, people = self._people(np.random.default_rng((self._seed, block)))
        chosen = np.asarray(users)
        return self._photos_of(
            common[chosen], people[chosen], np.random.default_rng((self._seed, block, 1 + seed))
        )

    def _people(self, rng: np.random.Generator) -> tuple[Templates, Templates]:
        """What each user shares with others, and what is their own."""
        group = rng.integers(_GROUPS, size=_USERS_AT_ONCE)
        common = np.sqrt(_SHARED_BY_ALL) * self._mean + np.sqrt(_SHARED_BY_GROUP) * self._groups[group]
        own = rng.standard_normal((_USERS_AT_ONCE, _STRONG_DIMENSIONS), dtype=np.float32)
        return common.astype(np.float32), own

    def _photos_of(self, common: Templates, people: Templates, rng: np.random.Generator) -> Templates:
        clarity = rng.uniform(*_CLARITY, size=(len(people), 1)).astype(np.float32)
        of_photo = rng.standard_normal(people.shape, dtype=np.float32)
        own = (clarity * people + np.sqrt(1 - clarity * clarity) * of_photo) * self._spread
        faces = (common + np.float32(np.sqrt(1 - _SHARED_BY_ALL - _SHARED_BY_GROUP)) * own) @ self._turn
        return faces / np.linalg.norm(faces, axis=1, keepdims=True)


@dataclass(frozen=True)
class Agreement:
    """A score of the calibration beside the same of the synthetic templates."""

    what: str
    calibrated: float
    synthetic: float


def agreement(population: Population, calibration: Calibration) -> list[Agreement]:
    """How near the vectors come to what the calibration measured: scores that a share of the pairs of
    different people reach, and the scores that a share of the pairs of one person stay below."""
    first, second = (population.templates(block)[:: population.block // _USERS_AT_ONCE] for block in (0, 1))
    impostors = np.concatenate([(part @ second.T).ravel() for part in np.array_split(first, 4)])
    again = population.another_photo(0, range(_USERS_AT_ONCE), seed=0)
    genuine = np.einsum("ij,ij->i", first, again)
    found = [
        Agreement(
            f"different people, {share:g} reach",
            round(calibration.score_at_fmr(share), 3),
            round(float(np.quantile(impostors, 1 - share)), 3),
        )
        for share in (0.5, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    ]
    table = calibration.fnmr_table
    for share in (0.05, 0.5, 0.95):
        stay_below = table.first_at_least(share)
        found.append(
            Agreement(
                f"one person, {share:g} stay below",
                round(table.end if stay_below is None else stay_below, 3),
                round(float(np.quantile(genuine, share)), 3),
            )
        )
    return found
