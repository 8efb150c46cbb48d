"""What must be true in the end: every accepted job has one result, record, point and log entry."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from infra.clock import SystemClock
from infra.documents.port import Collection
from infra.opening import open_services, open_vectors
from infra.repositories.collections import AUDIT_EVENTS, DEAD_LETTERS, FACES, JOBS
from infra.services import Services
from infra.settings import Settings
from infra.vectors.port import Point, Vectors
from schemas.jobs import ATTEMPT_KINDS, JobKind, JobRecord, JobState
from schemas.records import FaceRecord, FaceState, Record
from tests.chaos.lives import Life
from workers.ending import Finisher
from workers.recognition.model import calibrated_model
from workers.recognition.weights import find_weights
from workers.relay import Relay
from workers.sweeping import Sweeper

R = TypeVar("R", bound=Record)

_ONE_JOB_A_STEP = (JobKind.ENROLL, JobKind.SEARCH, JobKind.VERIFY, JobKind.DETECT)
"""Submitted under a key each, so that a repetition makes no second job. A deletion or a change of groups that
was cut off and is asked for again may be a second job, and must come to the same."""


async def faults(settings: Settings, galleries: Mapping[UUID, Sequence[Life]]) -> list[str]:
    """What is not as it must be, in words. The service is stopped; `galleries` is what was asked of each
    company."""
    model = calibrated_model(find_weights(settings.model, settings.cache_dir))
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(
            open_services(settings, model.stamp, model.calibration, _Later())
        )
        vectors = await stack.enter_async_context(open_vectors(settings, model.stamp, SystemClock()))
        # Who was killed between the end of a job and the deletion of its photo leaves it to the sweep.
        await Sweeper(services, Finisher(services, Relay(services))).drop_orphaned_blobs()
        return [
            f"{company_id}: {fault}"
            for company_id, lives in galleries.items()
            async for fault in _Company(services, vectors, company_id, lives).faults()
        ]


class _Later(SystemClock):
    """A time at which sweeps no longer take what is there for what is under way."""

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=10)


class _Company:
    """One company's stores, and what its people have done."""

    def __init__(self, services: Services, vectors: Vectors, company_id: UUID, lives: Sequence[Life]) -> None:
        self._services = services
        self._vectors = vectors
        self._company_id = company_id
        self._lives = lives

    async def faults(self) -> AsyncIterator[str]:
        jobs = await self._all(JOBS)
        for fault in self._faults_of_jobs(jobs):
            yield fault
        faces = await self._all(FACES)
        for fault in self._faults_of_faces(faces):
            yield fault
        for fault in self._faults_of_points(await self._points(), faces):
            yield fault
        for fault in await self._faults_of_events(jobs):
            yield fault
        if letters := await self._all(DEAD_LETTERS):
            yield f"{len(letters)} dead letters: {Counter(letter.cause for letter in letters)}"
        left = [info.key async for info in self._services.objects.list(self._company_id, "inflight/")]
        if left:
            yield f"{len(left)} photos in flight left behind"

    def _faults_of_jobs(self, jobs: Sequence[JobRecord]) -> Iterator[str]:
        asked = Counter(step for life in self._lives for step in life.done)
        found = Counter(job.kind for job in jobs)
        for kind in _ONE_JOB_A_STEP:
            if found[kind] != asked[kind]:
                yield f"{asked[kind]} times {kind} was asked for, and {found[kind]} jobs were made"
        for kind in set(asked) - set(_ONE_JOB_A_STEP):
            if found[kind] < asked[kind]:
                yield f"{asked[kind]} times {kind} was asked for, and only {found[kind]} jobs were made"
        known = {UUID(job.id) for job in jobs}
        lost = {job_id for life in self._lives for job_id in life.job_ids} - known
        if lost:
            yield f"jobs that were answered are lost: {lost}"
        for job in jobs:
            if job.state is not JobState.SUCCEEDED:
                yield f"{job.kind} {job.id} is {job.state} ({job.code})"
            if job.kind in ATTEMPT_KINDS and not job.logged:
                yield f"{job.kind} {job.id} has no log entry"
            if job.wrapped_key is not None:
                yield f"{job.kind} {job.id} has ended and kept its key"

    def _faults_of_faces(self, faces: Sequence[FaceRecord]) -> Iterator[str]:
        made = Counter(face.job_id for face in faces if face.job_id is not None)
        if twice := [job_id for job_id, count in made.items() if count > 1]:
            yield f"jobs that made more than one face: {twice}"
        enrolled = {face_id for life in self._lives for face_id in life.enrolled}
        if enrolled != (recorded := {UUID(face.id) for face in faces}):
            yield f"lost faces: {enrolled - recorded}, faces that nobody asked for: {recorded - enrolled}"
        left = {face_id for life in self._lives for face_id in life.faces}
        if left != (active := {UUID(face.id) for face in faces if face.state is FaceState.ACTIVE}):
            yield f"active faces are lost: {left - active}, deleted ones are active: {active - left}"

    def _faults_of_points(self, points: Sequence[Point], faces: Sequence[FaceRecord]) -> Iterator[str]:
        active = {UUID(face.id): face for face in faces if face.state is FaceState.ACTIVE}
        indexed = {point.face_id: point for point in points}
        if indexed.keys() != active.keys():
            yield f"not indexed: {active.keys() - indexed.keys()}, strays: {indexed.keys() - active.keys()}"
        groups = {face_id: set(life.groups) for life in self._lives for face_id in life.faces}
        for face_id, point in indexed.items():
            if set(point.groups) != groups.get(face_id, set[str]()):
                yield f"face {face_id} is indexed under {point.groups}, not {groups.get(face_id)}"

    async def _faults_of_events(self, jobs: Sequence[JobRecord]) -> list[str]:
        events = await self._all(AUDIT_EVENTS)
        told = Counter(event.job_id for event in events if event.job_id is not None)
        expected = Counter({job.id: len(job.events) for job in jobs})
        wrong = {job_id for job_id in expected | told if told[job_id] != expected[job_id]}
        return [f"events of {len(wrong)} jobs are lost or doubled"] if wrong else []

    async def _points(self) -> list[Point]:
        points: list[Point] = []
        after: UUID | None = None
        while True:
            page, after = await self._vectors.scroll(self._company_id, after=after, limit=500)
            points += page
            if after is None:
                return points

    async def _all(self, collection: Collection[R]) -> list[R]:
        records: list[R] = []
        after = None
        while True:
            page = await self._services.documents.find(collection, self._company_id, after=after, limit=500)
            records += page.items
            after = page.next_key
            if after is None:
                return records
