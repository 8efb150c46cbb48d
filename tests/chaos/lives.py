"""What is asked of the service: people who are enrolled, looked for, changed, deleted and erased.

A person's steps follow one another, so that it is known what must be left in the end; people do not wait for
each other.
"""

import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final
from uuid import UUID

from PIL import Image

from schemas.jobs import JobKind
from scripts.photos import Photos
from tests.chaos.calls import Calls

_LONGEST_SIDE_PX: Final = 560
_GROUPS: Final = ("hq", "lab", "gate")


@dataclass
class Life:
    """One person's steps, drawn from a seed, and what they have come to."""

    user_id: str
    faces_of: Sequence[Path]
    """Photos of one real person; each enrolment uses another file made from one of them."""
    seed: int
    steps: tuple[JobKind, ...]
    done: list[JobKind] = field(default_factory=list[JobKind])
    enrolled: list[UUID] = field(default_factory=list[UUID])
    """Every face that an enrolment has made."""
    faces: list[UUID] = field(default_factory=list[UUID])
    """Those of them that were not deleted."""
    groups: tuple[str, ...] = ()
    job_ids: set[UUID] = field(default_factory=set[UUID])
    """Of attempts at recognition and detection: one a step."""

    async def live(self, calls: Calls, company: str, progressed: Callable[[], None]) -> None:
        """Take all steps, each to its end."""
        chance = random.Random(self.seed)
        photos = _variants(self.faces_of, chance)
        for number, step in enumerate(self.steps):
            await self._take(calls, step, f"{company}-{self.user_id}-{number}", photos, chance)
            self.done.append(step)
            progressed()

    async def _take(
        self, calls: Calls, step: JobKind, key: str, photos: Iterator[bytes], chance: random.Random
    ) -> None:
        wait_s = chance.choice((0, 1, 10))
        match step:
            case JobKind.ENROLL:
                self.groups = self.groups or (chance.choice(_GROUPS),)
                fields = {"user_id": self.user_id, "full_name": "Ada", "groups": self.groups}
                body = await calls.result(
                    "POST", "/face/enroll", key=key, wait_s=wait_s, photo=next(photos), fields=fields
                )
                self.enrolled.append(UUID(body["face_id"]))
                self.faces.append(UUID(body["face_id"]))
                self.job_ids.add(UUID(body["job_id"]))
            case JobKind.SEARCH | JobKind.DETECT | JobKind.VERIFY:
                fields = {"user_id": self.user_id} if step is JobKind.VERIFY else {}
                body = await calls.result(
                    "POST", f"/face/{step}", key=key, wait_s=wait_s, photo=next(photos), fields=fields
                )
                self.job_ids.add(UUID(body["job_id"]))
            case JobKind.REGROUP_USER:
                groups = chance.choice([pair for pair in combinations(_GROUPS, 2) if pair != self.groups])
                changes = {"groups": groups}
                await calls.result("PATCH", f"/users/{self.user_id}", wait_s=wait_s, json=changes)
                self.groups = groups
            case JobKind.DELETE_FACE:
                face_id = self.faces.pop(chance.randrange(len(self.faces)))
                await calls.result("DELETE", f"/faces/{face_id}", gone_is_done=True, wait_s=wait_s)
            case JobKind.ERASE_USER:
                await calls.result("DELETE", f"/users/{self.user_id}", gone_is_done=True, wait_s=wait_s)
                self.faces, self.groups = [], ()


def lives(photos: Photos, jobs: int, chance: random.Random) -> list[Life]:
    """As many people as make that many jobs of all kinds."""
    sources = [people for people in photos.people.values() if people]
    made: list[Life] = []
    left = jobs
    while left > 0:
        steps = _steps(chance)[:left]
        left -= len(steps)
        made.append(Life(f"user-{len(made)}", chance.choice(sources), chance.randrange(2**32), tuple(steps)))
    return made


def _steps(chance: random.Random) -> list[JobKind]:
    """A life: it begins with an enrolment; what needs a face comes when there is one."""
    steps, faces = [JobKind.ENROLL], 1
    for _ in range(chance.randint(6, 12)):
        possible = [JobKind.ENROLL, JobKind.SEARCH, JobKind.SEARCH, JobKind.DETECT]
        if faces:
            possible += [JobKind.VERIFY, JobKind.REGROUP_USER, JobKind.DELETE_FACE]
        step = chance.choice(possible)
        faces += (step is JobKind.ENROLL) - (step is JobKind.DELETE_FACE)
        steps.append(step)
    if faces and chance.random() < 0.3:
        steps += [JobKind.ERASE_USER, JobKind.ENROLL]
    return steps


def _variants(paths: Sequence[Path], chance: random.Random) -> Iterator[bytes]:
    """The photos again and again, each time as another file: half of them too large to travel inline."""
    while True:
        with Image.open(chance.choice(paths)) as image:
            image.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX))
            picture = image.convert("RGB")
        trimmed = picture.resize(
            (picture.width - chance.randrange(24), picture.height - chance.randrange(24))
        )
        file = io.BytesIO()
        trimmed.save(file, "JPEG", quality=chance.randint(70, 95))
        yield file.getvalue()
