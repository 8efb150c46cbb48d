"""The calls of `faceid bench load`: searches by photos of somebody who is enrolled and of a stranger, and
enrolments; what comes of each is counted, and nothing but a service that is gone ends the run."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from faceid_client import ApiError, AsyncClient, ConnectionLost, FaceIdError, JobPending, NotReachable, Reply
from scripts.bench.load_report import Answered, LoadFailed
from scripts.bench.speed import sized
from scripts.photos import Photos

PHOTOS_A_USER: Final = 18
"""Fewer than a company lets a user have, unless it says otherwise."""

_QUALITY: Final = 90
"""Of the first photo as a JPEG."""

_GONE_AFTER_S: Final = 10.0
_GONE_AFTER_CALLS: Final = 3
_PAUSE_S: Final = 0.1
_FORGET_S: Final = 60.0


@dataclass(frozen=True)
class Probe:
    """A photo, and whom it shows: None for a stranger."""

    photo: bytes
    user_id: str | None


@dataclass(frozen=True)
class Person:
    """Somebody real, to be enrolled under a user id of this run alone."""

    user_id: str
    photos: Sequence[bytes]


@dataclass(frozen=True)
class Cast:
    """Whom the photos show."""

    people: Sequence[Person]
    probes: Sequence[Probe]

    @classmethod
    def of(cls, photos: Photos) -> "Cast":
        """The first of the people is searched for, with the photo that is enrolled as another file: whether
        another photo of them would do is the model's matter (`faceid bench accuracy`)."""
        run = uuid.uuid4().hex[:12]
        people: list[Person] = []
        for number, (first, *_) in enumerate(photos.people.values()):
            # Each at another quality: another file, which counts as another photo, of the same face.
            files = [sized(first, quality=_QUALITY - place) for place in range(PHOTOS_A_USER)]
            people.append(Person(f"bench-load-{run}-{number}", files))
        known = Probe(sized(next(iter(photos.people.values()))[0], quality=_QUALITY + 1), people[0].user_id)
        return cls(people, (known, Probe(sized(photos.stranger), None)))


@dataclass
class Callers:
    """Makes the calls. Raises LoadFailed when the service is gone: when several calls in a row were lost, and
    for ten seconds nothing was answered."""

    api: AsyncClient
    cast: Cast
    gallery_size: int = 0
    """As the last search said."""
    _sent: set[str] = field(default_factory=set[str])
    """The user ids that may have come to be enrolled."""
    _lost: int = 0
    _heard_s: float = field(default_factory=time.perf_counter)

    async def prepare(self) -> None:
        """Enrol the person who is searched for. Raises LoadFailed when the company does not let that be, and
        FaceIdError."""
        person = self.cast.people[0]
        try:
            await self.api.enroll(person.photos[0], person.user_id)
        except ApiError as error:
            if error.status == 401:
                raise
            raise LoadFailed(
                f"The person to search for was not enrolled: {error.title} ({error.code})."
            ) from error
        except (ConnectionLost, JobPending):
            self._sent.add(person.user_id)
            raise
        self._sent.add(person.user_id)

    async def outlived(self) -> None:
        """Raises LoadFailed when the service did not live to the end: its last figures are of its dying."""
        try:
            await self.api.call("GET", "/healthz")
        except NotReachable as error:
            raise LoadFailed(f"The service did not live to the end of the run. {error}.") from error

    async def forget(self) -> list[str]:
        """Erase whom this run has enrolled; those who could not be, by their user ids."""
        left = sorted(self._sent)
        try:
            async with asyncio.timeout(_FORGET_S):
                for user_id in sorted(self._sent):
                    try:
                        await self.api.delete_user(user_id)
                    except ApiError as error:
                        if error.status != 404:  # Else no photo of them was taken.
                            continue
                    left.remove(user_id)
        except (TimeoutError, FaceIdError):
            pass  # Told by the caller: those who are left.
        return left

    async def search(self, number: int) -> Answered:
        """One search, by the photos in turn."""
        probe = self.cast.probes[number % len(self.cast.probes)]
        reply, answered = await self._call("/face/search", probe.photo, {})
        if reply is None or answered.fault is not None:
            return answered
        body = reply.body
        self.gallery_size = body["gallery_size"]
        found = body["best"]["user_id"] if body["matched"] else None
        steps = {step: took_ms for step, took_ms in body["timings_ms"].items() if took_ms}
        missed = probe.user_id is not None and found is None
        wrong = found is not None and found != probe.user_id
        return Answered(answered.took_ms, is_wrong=wrong, is_missed=missed, steps_ms=steps)

    async def enrol(self, number: int) -> Answered:
        """One enrolment, by the people in turn; the first photo of the first is there already."""
        people = self.cast.people
        person = people[number % len(people)]
        photo = person.photos[1 + number // len(people)]
        self._sent.add(person.user_id)
        _, answered = await self._call("/face/enroll", photo, {"user_id": person.user_id})
        return answered

    @property
    def enrolments(self) -> int:
        """So many can be made."""
        return len(self.cast.people) * (PHOTOS_A_USER - 1)

    async def _call(
        self, path: str, photo: bytes, fields: dict[str, object]
    ) -> tuple[Reply | None, Answered]:
        began_s = time.perf_counter()
        try:
            reply = await self.api.call("POST", path, photo=photo, fields=fields)
        except NotReachable as error:
            took_ms = (time.perf_counter() - began_s) * 1000
            fault = "connection_lost" if isinstance(error, ConnectionLost) else "not_reachable"
            await self._lose(error)
            return None, Answered(took_ms, fault=fault)
        self._heard_s, self._lost = time.perf_counter(), 0
        took_ms = (self._heard_s - began_s) * 1000
        return reply, Answered(took_ms, fault=_fault(reply))

    async def _lose(self, error: NotReachable) -> None:
        self._lost += 1
        silent_s = time.perf_counter() - self._heard_s
        if self._lost >= _GONE_AFTER_CALLS and silent_s >= _GONE_AFTER_S:
            raise LoadFailed(f"The service is gone: for {silent_s:.0f} s nothing was answered. {error}.")
        # Who is refused at once must not ask again at once.
        await asyncio.sleep(_PAUSE_S)


def _fault(reply: Reply) -> str | None:
    """Why this is no answer: a problem's code, or that the job had not ended in time."""
    if reply.status in {200, 201}:
        return None
    if reply.status == 202:
        return "not_in_time"
    return ApiError(reply.status, reply.headers, reply.body).code
