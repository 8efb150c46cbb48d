import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID, uuid4

import pytest

from infra.clock import ManualClock
from infra.services import Services
from ingress.waiting import Waiter
from schemas.ids import PLATFORM
from schemas.jobs import JobKind, JobRecord, JobState
from schemas.policies import RetentionPolicy
from tests.ingress.worker import removed


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def waiter(services: Services) -> AsyncGenerator[Waiter]:
    waiter = Waiter(services.jobs, services.broker, services.clock)
    await waiter.start()
    yield waiter
    await waiter.close()


@pytest.fixture
async def company_id(services: Services) -> UUID:
    company_id = uuid4()
    await services.keys.create(company_id)
    return company_id


async def queued(services: Services, company_id: UUID, reply_to: str | None) -> JobRecord:
    job = JobRecord(
        id=str(uuid4()),
        kind=JobKind.DELETE_FACE,
        state=JobState.QUEUED,
        created_at=services.clock.now(),
        deadline_at=None,
        submitted_by="member:test",
        correlation_id="test",
        reply_to=reply_to,
        wrapped_key=None,
    )
    await services.jobs.accept(company_id, job, synced=False)
    return job


async def end(services: Services, company_id: UUID, job: JobRecord) -> None:
    await services.jobs.end(company_id, job, removed(job), RetentionPolicy())


async def test_a_hint_wakes_who_waits(
    services: Services, clock: ManualClock, waiter: Waiter, company_id: UUID
) -> None:
    job = await queued(services, company_id, waiter.address)
    waiting = asyncio.create_task(waiter.wait(company_id, UUID(job.id), 10))
    await clock.until_sleeping()
    await end(services, company_id, job)
    assert waiter.address is not None
    await services.broker.reply(waiter.address, company_id, UUID(job.id))
    ended = await waiting
    assert ended is not None
    assert ended.state is JobState.SUCCEEDED
    assert clock.monotonic_s() == 0


async def test_a_job_that_has_ended_is_not_waited_for(
    services: Services, waiter: Waiter, company_id: UUID
) -> None:
    job = await queued(services, company_id, waiter.address)
    await end(services, company_id, job)
    ended = await waiter.wait(company_id, UUID(job.id), 10)
    assert ended is not None
    assert ended.state is JobState.SUCCEEDED


async def test_a_job_that_is_not_there_is_not_waited_for(waiter: Waiter, company_id: UUID) -> None:
    assert await waiter.wait(company_id, uuid4(), 10) is None


async def test_a_hint_that_is_lost_costs_a_second_at_most(
    services: Services, clock: ManualClock, waiter: Waiter, company_id: UUID
) -> None:
    job = await queued(services, company_id, waiter.address)
    waiting = asyncio.create_task(waiter.wait(company_id, UUID(job.id), 10))
    await clock.until_sleeping()
    await end(services, company_id, job)
    clock.advance(0.99)
    assert not waiting.done()
    clock.advance(0.01)
    ended = await waiting
    assert ended is not None
    assert ended.state is JobState.SUCCEEDED


async def test_hints_about_other_jobs_and_companies_wake_nobody(
    services: Services, clock: ManualClock, waiter: Waiter, company_id: UUID
) -> None:
    job = await queued(services, company_id, waiter.address)
    waiting = asyncio.create_task(waiter.wait(company_id, UUID(job.id), 10))
    await clock.until_sleeping()
    await end(services, company_id, job)
    assert waiter.address is not None
    for company, job_id in ((company_id, uuid4()), (uuid4(), UUID(job.id)), (PLATFORM, UUID(int=0))):
        await services.broker.reply(waiter.address, company, job_id)
    await clock.until_sleeping()
    assert not waiting.done()
    await services.broker.reply(waiter.address, company_id, UUID(job.id))
    assert (await waiting) is not None


async def test_a_job_of_another_ingress_is_read_at_growing_intervals(
    services: Services, clock: ManualClock, waiter: Waiter, company_id: UUID
) -> None:
    job = await queued(services, company_id, "somebody else")
    waiting = asyncio.create_task(waiter.wait(company_id, UUID(job.id), 10))
    for pause_s in (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        await clock.until_sleeping()
        clock.advance(pause_s)
    await clock.until_sleeping()
    await end(services, company_id, job)
    clock.advance(1)
    ended = await waiting
    assert ended is not None
    assert ended.state is JobState.SUCCEEDED


async def test_nobody_is_held_beyond_their_time(
    services: Services, clock: ManualClock, waiter: Waiter, company_id: UUID
) -> None:
    job = await queued(services, company_id, waiter.address)
    waiting = asyncio.create_task(waiter.wait(company_id, UUID(job.id), 1.5))
    await clock.until_sleeping()
    clock.advance(1)
    await clock.until_sleeping()
    clock.advance(0.5)
    as_it_is = await waiting
    assert as_it_is is not None
    assert as_it_is.state is JobState.QUEUED


async def test_several_who_wait_for_one_job_are_all_woken(
    services: Services, clock: ManualClock, waiter: Waiter, company_id: UUID
) -> None:
    job = await queued(services, company_id, waiter.address)
    waiting = [asyncio.create_task(waiter.wait(company_id, UUID(job.id), 10)) for _ in range(3)]
    await clock.until_sleeping(3)
    await end(services, company_id, job)
    assert waiter.address is not None
    await services.broker.reply(waiter.address, company_id, UUID(job.id))
    states = [ended.state for ended in await asyncio.gather(*waiting) if ended is not None]
    assert states == [JobState.SUCCEEDED] * 3


async def test_beyond_its_capacity_nobody_is_held(
    services: Services, clock: ManualClock, company_id: UUID
) -> None:
    waiter = Waiter(services.jobs, services.broker, clock, capacity=1)
    job = await queued(services, company_id, None)
    waiting = asyncio.create_task(waiter.wait(company_id, UUID(job.id), 10))
    await clock.until_sleeping()
    at_once = await waiter.wait(company_id, UUID(job.id), 10)
    assert at_once is not None
    assert at_once.state is JobState.QUEUED
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_who_waits_when_the_server_stops_is_let_go(
    services: Services, clock: ManualClock, waiter: Waiter, company_id: UUID
) -> None:
    job = await queued(services, company_id, waiter.address)
    waiting = asyncio.create_task(waiter.wait(company_id, UUID(job.id), 60))
    await clock.until_sleeping()
    waiter.close_in(0.5)
    await clock.until_sleeping()
    clock.advance(0.5)
    as_it_is = await waiting
    assert as_it_is is not None
    assert as_it_is.state is JobState.QUEUED


async def test_who_gives_up_leaves_nothing_behind(
    services: Services, clock: ManualClock, waiter: Waiter, company_id: UUID
) -> None:
    job = await queued(services, company_id, waiter.address)
    waiting = asyncio.create_task(waiter.wait(company_id, UUID(job.id), 10))
    await clock.until_sleeping()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert waiter._waiting == {}
    assert waiter._held == set()


async def test_an_inbox_that_breaks_is_opened_again(
    services: Services, clock: ManualClock, waiter: Waiter, company_id: UUID
) -> None:
    first = waiter.address
    assert waiter._inbox is not None
    await waiter._inbox.close()
    await clock.until_sleeping()
    assert waiter.address is None
    clock.advance(1)
    while waiter.address is None:  # noqa: ASYNC110 - nothing tells when it is open
        await asyncio.sleep(0)
    assert waiter.address != first
    job = await queued(services, company_id, waiter.address)
    waiting = asyncio.create_task(waiter.wait(company_id, UUID(job.id), 10))
    await clock.until_sleeping()
    await end(services, company_id, job)
    await services.broker.reply(waiter.address, company_id, UUID(job.id))
    ended = await waiting
    assert ended is not None
    assert ended.state is JobState.SUCCEEDED
