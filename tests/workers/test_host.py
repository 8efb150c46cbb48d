"""All workers together, over real stores and processes: every job ends, whatever its photo does to the
model."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from infra.broker.topics import DEAD_LETTERS as DEAD_LETTER_TOPIC
from infra.child import ChildProcess
from infra.clock import SystemClock
from infra.repositories.access_log import LogFilter
from infra.repositories.collections import DEAD_LETTERS
from infra.seen import Seen
from infra.services import Services
from infra.submission import Submitter
from infra.vectors.port import Vectors
from schemas.jobs import JobRecord, JobState, Outcome
from schemas.messages import EnrolmentFields, SearchFields
from schemas.results import EnrolResult, Location, SearchResult
from tests.workers.conftest import COLLECTION, ENGINE, MODEL
from workers.host import WorkerHost
from workers.measuring import measure_index, show_no_index
from workers.recognition.compute import Compute
from workers.roles import Index, OtherModel

# Real processes are killed and started again here, which takes too long for the quick part.
pytestmark = pytest.mark.system

_TEST_DEADLINE_S = 60


@pytest.fixture
def clock() -> SystemClock:
    """Retries wait for real, if only briefly: what is tested here is many parts at once."""
    return SystemClock()


@pytest.fixture
async def company_id(services: Services) -> UUID:
    company, _ = await services.accounts.register(
        company_name="Example Ltd", email="admin@example.com", password_hash="", model=MODEL
    )
    return UUID(company.id)


@asynccontextmanager
async def working(services: Services, vectors: Vectors) -> AsyncGenerator[WorkerHost]:
    """Workers until the end of the block, then drained."""
    child = ChildProcess("compute", "tests.workers.compute_stand_in", arguments={}, start_timeout_s=30)
    await child.start()
    try:
        host = WorkerHost(
            services, index=Index(vectors, COLLECTION), compute=Compute(child, open_timeout_s=1)
        )
        await host.prepare()
        running = asyncio.create_task(host.run())
        try:
            yield host
        finally:
            await host.drain(20)
            await running
    finally:
        await child.close()


async def enroll(services: Services, company_id: UUID, user_id: str, photo: str) -> JobRecord:
    user_hash = await services.users.hash_of(company_id, user_id)
    return await services.submission.enroll(
        Submitter(company_id, "member:test", "correlation", reply_to=None),
        photo.encode(),
        EnrolmentFields(user_id=user_id),
        user_hash=user_hash,
        user_epoch=await services.users.epoch(company_id, user_hash),
        synced=False,
    )


async def search(
    services: Services, company_id: UUID, photo: str, fields: SearchFields | None = None, *, ttl_s: float = 60
) -> JobRecord:
    return await services.submission.search(
        Submitter(company_id, "member:test", "correlation", reply_to=None),
        photo.encode(),
        fields or SearchFields(),
        deadline_at=services.clock.now() + timedelta(seconds=ttl_s),
        synced=False,
    )


async def ended(services: Services, company_id: UUID, *jobs: JobRecord) -> list[JobRecord]:
    """The jobs as they ended. They are looked at again whenever one of them may have."""
    async with asyncio.timeout(_TEST_DEADLINE_S):
        while True:
            records = [await services.jobs.get(company_id, UUID(job.id)) for job in jobs]
            found = [record for record in records if record is not None]
            if all(record.state is not JobState.QUEUED for record in found):
                return found
            await asyncio.sleep(0)


async def test_enrolled_then_found_then_a_stranger(
    services: Services, vectors: Vectors, company_id: UUID
) -> None:
    async with working(services, vectors) as host:
        assert await host.check() == Seen({"model": "ready", "index": "ready"}, (ENGINE,))
        (enrolment,) = await ended(
            services, company_id, await enroll(services, company_id, "u-1", "face 1 0")
        )
        assert enrolment.http_status == 201
        door = SearchFields(location=Location(device_id="door-1"))
        found, stranger, nobody = await ended(
            services,
            company_id,
            await search(services, company_id, "face 1 1", door),
            await search(services, company_id, "face 2 0"),
            await search(services, company_id, "nobody"),
        )
    assert (found.outcome, found.code) == (Outcome.MATCHED, None)
    for job, answer in ((enrolment, EnrolResult), (found, SearchResult)):
        text = await services.jobs.result_text(company_id, job)
        assert answer.model_validate_json(text or "").engine == ENGINE, "each result says what computed it"
    details = await services.jobs.log_details(company_id, found)
    assert (details.user_id, details.location) == ("u-1", {"device_id": "door-1"})
    assert (stranger.outcome, stranger.log_user_hashes) == (Outcome.NOT_MATCHED, ())
    assert (await services.jobs.log_details(company_id, stranger)).nearest_user_id == "u-1"
    assert (nobody.outcome, nobody.code, nobody.http_status) == (Outcome.REFUSED, "no_face", 422)


@pytest.mark.parametrize(
    ("photo", "cause"),
    [("die", "compute_died"), ("hang", "compute_hung"), ("break", "compute_broke_down")],
)
async def test_a_photo_that_brings_the_model_down_takes_no_other_with_it(
    services: Services, vectors: Vectors, company_id: UUID, photo: str, cause: str
) -> None:
    innocent = [await search(services, company_id, f"face {number} 0") for number in range(3)]
    poison = await search(services, company_id, photo)
    innocent += [await search(services, company_id, f"face {number} 0") for number in range(3, 6)]
    async with working(services, vectors):
        *others, failed = await ended(services, company_id, *innocent, poison)
    assert {job.outcome for job in others} == {Outcome.NOT_MATCHED}
    assert (failed.state, failed.code, failed.outcome) == (JobState.FAILED, "job_failed", Outcome.FAILED)
    log = await services.access_log.find(company_id, LogFilter(), after=None, limit=100)
    attempts = [*innocent, poison]
    assert sorted(entry.id for entry in log.items) == sorted(job.id for job in attempts), "one entry each"

    letter = await services.documents.get(DEAD_LETTERS, company_id, poison.id)
    assert letter is not None
    assert (letter.cause, letter.attempts, letter.wrapped_key) == (cause, 3, poison.wrapped_key)
    reader = await services.broker.subscribe(DEAD_LETTER_TOPIC, "test")
    assert len(await reader.fetch(max_messages=10, max_bytes=2**20, wait_s=1)) == 1
    await reader.close()


async def test_a_search_past_its_time_is_dropped_not_computed(
    services: Services, vectors: Vectors, company_id: UUID
) -> None:
    late = await search(services, company_id, "die", ttl_s=0)
    async with working(services, vectors):
        (job,) = await ended(services, company_id, late)
    assert (job.state, job.outcome, job.http_status) == (JobState.EXPIRED, Outcome.EXPIRED, 504)


async def test_a_photo_too_large_for_a_message_travels_as_a_blob_and_leaves_none(
    services: Services, vectors: Vectors, company_id: UUID
) -> None:
    large = "face 1 0" + " " * services.settings.max_inline_bytes
    job = await search(services, company_id, large)
    assert job.blob_key is not None
    sealed = await services.objects.get(company_id, job.blob_key)
    assert b"face" not in sealed
    async with working(services, vectors):
        (done,) = await ended(services, company_id, job)
    assert done.outcome is Outcome.NOT_MATCHED
    assert [blob async for blob in services.objects.list(company_id, "inflight/")] == []


async def test_what_is_queued_when_the_workers_stop_is_done_by_the_next(
    services: Services, vectors: Vectors, company_id: UUID
) -> None:
    jobs = [await enroll(services, company_id, f"u-{number}", f"face {number} 0") for number in range(6)]
    async with working(services, vectors):
        pass  # Stopped at once: whatever was begun is finished, the rest is left.
    async with working(services, vectors):
        done = await ended(services, company_id, *jobs)
    assert {job.http_status for job in done} == {201}
    assert await vectors.count(company_id) == 6


async def test_what_jobs_cost_is_measured_where_it_happens(
    services: Services, vectors: Vectors, company_id: UUID
) -> None:
    async with working(services, vectors):
        await ended(services, company_id, await enroll(services, company_id, "u-1", "face 1 0"))
        await ended(services, company_id, await search(services, company_id, "face 1 1"))
        value = services.metrics.value
        told = {"id": MODEL.id, "version": MODEL.version, "engine": ENGINE.name, "device": ENGINE.device}
        told["precision"] = ENGINE.precision
        assert value("faceid_breaker_state", topic="search") == 0
        assert value("faceid_in_flight_messages", topic="templates") is not None
        assert value("faceid_child_restarts_total", child="compute") == 0
        assert value("faceid_model_info", **told) == 1
    assert value("faceid_jobs_total", kind="enroll", outcome="enrolled") == 1
    assert value("faceid_jobs_total", kind="search", outcome="matched") == 1
    assert value("faceid_job_seconds_count", kind="search") == 1
    for stage, times in {"queue": 2, "records": 2, "index": 1, "decide": 1, "end": 2}.items():
        assert (stage, value("faceid_stage_seconds_count", stage=stage)) == (stage, times)
    assert value("faceid_batch_jobs_count", topic="search") == 1
    assert value("faceid_in_flight_messages", topic="search") is None


async def test_the_index_is_measured_against_the_records(
    services: Services, vectors: Vectors, company_id: UUID
) -> None:
    async with working(services, vectors):
        await ended(services, company_id, await enroll(services, company_id, "u-1", "face 1 0"))
        await measure_index(services, vectors, COLLECTION)
        assert services.metrics.value("faceid_index_faces") == 1
        assert services.metrics.value("faceid_index_pending_changes") == 1
    await measure_index(services, vectors, COLLECTION)
    assert services.metrics.value("faceid_index_pending_changes") == 0, "draining has made it safe on disk"
    show_no_index(services.metrics)
    assert b"faceid_index_faces NaN" in services.metrics.text(), "what is old is not told"


async def test_roles_share_the_work_between_processes_and_need_no_more_than_their_own(
    services: Services, vectors: Vectors, company_id: UUID
) -> None:
    """One process has the model and no index to write, another the index and no model, a third neither."""
    child = ChildProcess("compute", "tests.workers.compute_stand_in", arguments={}, start_timeout_s=30)
    await child.start()
    index, compute = Index(vectors, COLLECTION), Compute(child, open_timeout_s=1)
    hosts = [
        WorkerHost(services, ["face"], index=index, compute=compute),
        WorkerHost(services, ["registrar", "retention"], index=index, compute=None),
        WorkerHost(services, ["relay"], index=None, compute=None),
    ]
    assert [await host.check() for host in hosts] == [
        Seen({"model": "ready", "index": "ready"}, (ENGINE,)),
        Seen({"index": "ready"}),
        Seen({}),
    ]
    for host in hosts:
        await host.prepare()
    async with asyncio.TaskGroup() as group:
        for host in hosts:
            group.create_task(host.run())
        job = await enroll(services, company_id, "u-1", "face 1 0")
        (enrolled,) = await ended(services, company_id, job)
        (found,) = await ended(services, company_id, await search(services, company_id, "face 1 1"))
        await asyncio.gather(*(host.drain(20) for host in hosts))
    await child.close()
    assert (enrolled.http_status, found.outcome) == (201, Outcome.MATCHED)


async def test_a_role_is_refused_where_its_process_has_not_what_it_needs(services: Services) -> None:
    for role in ("face", "registrar", "retention"):
        with pytest.raises(ValueError, match="needs"):
            WorkerHost(services, [role], index=None, compute=None)


async def test_a_worker_with_other_weights_than_the_model_of_all_does_not_start(
    services: Services, vectors: Vectors
) -> None:
    child = ChildProcess("compute", "tests.workers.compute_stand_in", arguments={}, start_timeout_s=30)
    await child.start()
    others = replace(services, model=MODEL.model_copy(update={"version": "2"}))
    index, compute = Index(vectors, COLLECTION), Compute(child, open_timeout_s=1)
    host = WorkerHost(others, ["face"], index=index, compute=compute)
    with pytest.raises(OtherModel):
        await host.prepare()
    await child.close()


async def test_a_search_does_not_wait_for_the_enrolments_that_were_queued_before_it(
    services: Services, vectors: Vectors, company_id: UUID
) -> None:
    jobs = [await enroll(services, company_id, f"u-{number}", f"face {number} 0") for number in range(200)]
    asked = await search(services, company_id, "face 3 0")
    async with working(services, vectors):
        (searched,) = await ended(services, company_id, asked)
        enrolled = await ended(services, company_id, *jobs)
    assert searched.ended_at is not None
    assert {job.http_status for job in enrolled} == {201}
    before = [job for job in enrolled if job.ended_at is not None and job.ended_at < searched.ended_at]
    assert len(before) < len(jobs) / 10
