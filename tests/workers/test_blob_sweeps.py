"""The sweeps over blobs, in files and in a bucket, by several workers at once."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from infra.clock import Clock, ManualClock
from infra.objects.s3 import S3Objects
from infra.repositories.collections import COMPANIES, DEAD_LETTERS
from schemas.jobs import JobRecord
from schemas.letters import DeadLetter
from schemas.policies import CompanySettings, RetentionPolicy
from tests.servers.versitygw import S3Server
from tests.workers.conftest import Workshop, assembled, person
from workers.closing import KEPT_FOR, Closer
from workers.ending import expired
from workers.registrar import face_id_of
from workers.removal import photo_key_of, reference_key_of
from workers.sweeping import SKEW, Sweeper
from workers.unkept_photos import PhotoSweeper

pytestmark = pytest.mark.system

WORKERS = 3


@pytest.fixture
def clock() -> Clock:
    """What is put down now is an hour old."""
    return ManualClock(datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture(params=["filesystem", "s3"])
async def workshop(
    request: pytest.FixtureRequest, workshop: Workshop, clock: Clock
) -> AsyncGenerator[Workshop]:
    """With blobs in files, and in a bucket whose listings have pages."""
    if request.param == "filesystem":
        yield workshop
        return
    server: S3Server = request.getfixturevalue("s3_server")
    objects = S3Objects(server.place(), clock, listed_at_a_time=5)
    await objects.make_bucket()
    await objects.start()
    services = replace(workshop.services, objects=objects)
    yield assembled(services, workshop.vectors, workshop.company_id)
    await objects.close()


async def keys_of(workshop: Workshop, company_id: UUID | None = None) -> set[str]:
    return {blob.key async for blob in workshop.services.objects.list(company_id, "")}


async def in_flight(workshop: Workshop, number: int) -> JobRecord:
    """A job that is queued, with its photo."""
    job, _ = await workshop.enrolment(f"u-{number}", person(number))
    await workshop.services.objects.put(workshop.company_id, f"inflight/{job.id}", b"sealed")
    return job


async def died(workshop: Workshop, job: JobRecord) -> None:
    now = workshop.services.clock.now()
    letter = DeadLetter(
        id=job.id,
        topic="enroll",
        cause="poison",
        attempts=3,
        wrapped_key=b"sealed",
        blob_key=f"inflight/{job.id}",
        mentions=(),
        died_at=now,
        expires_at=now + timedelta(days=7),
    )
    await workshop.services.documents.insert(DEAD_LETTERS, workshop.company_id, letter)


async def test_photos_in_flight_go_with_their_jobs_and_with_nothing_else(workshop: Workshop) -> None:
    objects, company_id = workshop.services.objects, workshop.company_id
    queued = [await in_flight(workshop, number) for number in range(3)]
    ended = [await in_flight(workshop, number) for number in range(10, 18)]
    dead = await in_flight(workshop, 20)
    for job in (*ended, dead):
        await workshop.finisher.finish(company_id, job, expired(job))
        await objects.put(company_id, f"inflight/{job.id}", b"put down again by a second run")
    await died(workshop, dead)
    stray = [(uuid4(), f"inflight/{uuid4()}") for _ in range(8)]
    kept = {photo_key_of(uuid4()), "inflight/of-another-version", "exports/1"}
    for owner, key in (*stray, *((company_id, key) for key in kept)):
        await objects.put(owner, key, b"sealed")
    sweepers = [Sweeper(workshop.services, workshop.finisher) for _ in range(WORKERS)]
    counts = await asyncio.gather(*(sweeper.drop_orphaned_blobs() for sweeper in sweepers))
    assert sum(counts) >= len(ended) + len(stray)
    assert await keys_of(workshop) == kept | {f"inflight/{job.id}" for job in (*queued, dead)}
    assert await sweepers[0].drop_orphaned_blobs() == 0


async def test_what_was_put_down_just_now_is_left(workshop: Workshop, clock: Clock) -> None:
    assert isinstance(clock, ManualClock)
    await workshop.services.objects.put(workshop.company_id, f"inflight/{uuid4()}", b"sealed")
    sweeper = Sweeper(workshop.services, workshop.finisher)
    clock.advance(-3600)
    assert await sweeper.drop_orphaned_blobs() == 0
    clock.advance(3600 + SKEW.total_seconds())
    assert await sweeper.drop_orphaned_blobs() == 1


async def test_photos_that_are_kept_no_more_go_once_however_many_workers_see_to_it(
    workshop: Workshop,
) -> None:
    services, company_id = workshop.services, workshop.company_id
    faces: list[UUID] = []
    for number in range(6):
        job, delivery = await workshop.enrolment(f"u-{number}", person(number), photo_is_kept=True)
        faces.append(face_id_of(job))
        for key in (photo_key_of(faces[-1]), reference_key_of(faces[-1])):
            await services.objects.put(company_id, key, b"sealed")
        await workshop.registrar.handle(company_id, [delivery])
    for keep in (True, False):

        def changed(settings: CompanySettings, keep: bool = keep) -> CompanySettings:
            retention = RetentionPolicy(keep_photos=keep)
            policies = settings.policies.model_copy(update={"retention": retention})
            return settings.model_copy(update={"policies": policies})

        await services.companies.configure(company_id, changed)
    await asyncio.gather(*(PhotoSweeper(services).drop_unkept() for _ in range(WORKERS)))
    assert not {key for key in await keys_of(workshop, company_id) if key.startswith("photos/")}
    records = [await services.faces.get(company_id, face_id) for face_id in faces]
    assert all(record is not None and record.photo_key is None for record in records)
    assert await PhotoSweeper(services).drop_unkept() == 0


async def test_a_closed_company_is_cleared_away_by_several_workers_at_once(
    workshop: Workshop, clock: Clock
) -> None:
    assert isinstance(clock, ManualClock)
    services, company_id, other = workshop.services, workshop.company_id, uuid4()
    for _ in range(12):
        await services.objects.put(company_id, photo_key_of(uuid4()), b"sealed")
        await services.objects.put(company_id, f"inflight/{uuid4()}", b"sealed")
    await services.objects.put(other, "photos/theirs", b"sealed")
    await services.companies.close(company_id)
    clock.advance(KEPT_FOR.total_seconds() + 1)
    closers = [Closer(services, workshop.vectors, workshop.indexer) for _ in range(WORKERS)]
    await asyncio.gather(*(closer.clear_closed() for closer in closers))
    assert await keys_of(workshop) == {"photos/theirs"}
    assert await services.documents.get(COMPANIES, company_id, str(company_id)) is None
