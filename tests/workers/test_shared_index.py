"""Several workers over one index on a server, each with an adapter and memory of its own, as processes."""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest

from infra.metric_table import INDEX_FACES, INDEX_PENDING
from infra.opening import open_vectors, renew_vectors
from infra.repositories.collections import FACES, INDEX_MARKS
from infra.services import Services
from infra.vectors.port import Renewal, VectorsUnavailable
from infra.vectors.qdrant import QdrantVectors
from schemas.jobs import JobState
from tests.contract.vectors_adapters import until_answering
from tests.servers import qdrant
from tests.servers.qdrant import QdrantServer
from tests.workers.conftest import COLLECTION, DIMENSIONS, MODEL, Workshop, assembled, person
from workers.indexing import mark_id
from workers.measuring import measure_index
from workers.registrar import face_id_of
from workers.reindexing import reindex_anew, take_back_marks

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[QdrantServer]:
    with qdrant.stand_in(tmp_path_factory.mktemp("index")) as server:
        yield server


class Workers:
    """As many processes as asked for, by their parts."""

    def __init__(self, services: Services, server: QdrantServer, stack: AsyncExitStack) -> None:
        self._services, self._stack = services, stack
        self.server = server
        self.name = f"shared-{uuid4().hex}"
        self.company_id: UUID | None = None

    def adapter(self) -> QdrantVectors:
        vectors = QdrantVectors(self.server.address, DIMENSIONS, self.name, flush_wait_s=0)
        self._stack.push_async_callback(vectors.close)
        return vectors

    async def one(self) -> Workshop:
        """Another worker of the same company."""
        if self.company_id is None:
            self.company_id = await self.another_company()
        return await self.of(self.company_id)

    async def of(self, company_id: UUID) -> Workshop:
        vectors = self.adapter()
        await vectors.start()
        return assembled(self._services, vectors, company_id)

    async def another_company(self) -> UUID:
        company, _ = await self._services.accounts.register(
            company_name="Example", email=f"{uuid4().hex}@example.com", password_hash="", model=MODEL
        )
        return UUID(company.id)


@pytest.fixture
async def workers(services: Services, server: QdrantServer) -> AsyncIterator[Workers]:
    async with AsyncExitStack() as stack:
        yield Workers(services, server, stack)


async def enrolled(worker: Workshop, user_id: str, number: int, variation: int = 0) -> int | None:
    job, delivery = await worker.enrolment(user_id, person(number, variation))
    await worker.registrar.handle(worker.company_id, [delivery])
    return (await worker.ended(job)).http_status


async def found(worker: Workshop, number: int) -> list[str]:
    (near,) = await worker.gallery.nearest(worker.company_id, [person(number)], users=1)
    return [one.face.id for one in near if one.similarity > 0.5]


async def mark(worker: Workshop) -> int | None:
    record_id = mark_id(COLLECTION, worker.vectors.edition)
    noted = await worker.services.documents.get(INDEX_MARKS, worker.company_id, record_id)
    return None if noted is None else noted.change


async def test_what_one_worker_has_answered_the_next_search_of_any_finds(workers: Workers) -> None:
    one, other = await workers.one(), await workers.one()
    assert await found(other, 1) == []
    job, delivery = await one.enrolment("u-1", person(1))
    await one.registrar.handle(one.company_id, [delivery])
    assert await found(other, 1) == [str(face_id_of(job))]
    await one.services.faces.delete(one.company_id, face_id_of(job))
    assert await found(other, 1) == [], "denied from its record on, whatever the index has"


async def test_registrars_of_two_processes_that_overtake_each_other_decide_as_one(workers: Workers) -> None:
    one, other = await workers.one(), await workers.one()
    batches = [
        [await one.enrolment(f"u-{half}-{number}", person(number, variation=half)) for number in range(6)]
        for half in range(2)
    ]
    await asyncio.gather(
        one.registrar.handle(one.company_id, [delivery for _, delivery in batches[0]]),
        other.registrar.handle(other.company_id, [delivery for _, delivery in batches[1]]),
    )
    ended = [await one.ended(job) for batch in batches for job, _ in batch]
    assert sorted(job.http_status or 0 for job in ended) == [201] * 6 + [409] * 6
    faces = (await one.services.documents.find(FACES, one.company_id, limit=100)).items
    assert await one.points() == await other.points() == {face.id for face in faces}


async def test_a_company_that_goes_to_another_process_and_back_is_in_step_at_each(workers: Workers) -> None:
    one, other = await workers.one(), await workers.one()
    for number, worker in enumerate((one, other, one, other)):
        assert await enrolled(worker, f"u-{number}", number) == 201
        # Whoever takes over has all of those before.
        for earlier in range(number + 1):
            assert await enrolled(worker, f"again-{number}-{earlier}", earlier, variation=1) == 409
    assert len(await one.points()) == 4


async def test_companies_of_different_processes_are_decided_side_by_side(workers: Workers) -> None:
    one = await workers.one()
    other = await workers.of(await workers.another_company())
    outcomes = await asyncio.gather(
        *(enrolled(worker, f"u-{number}", number) for number in range(4) for worker in (one, other))
    )
    assert outcomes == [201] * 8
    assert len(await one.points()) == len(await other.points()) == 4
    assert await one.points() != await other.points()


async def test_a_mark_never_says_more_than_the_index_has(workers: Workers) -> None:
    one, other = await workers.one(), await workers.one()
    assert await enrolled(one, "u-1", 1) == 201
    await one.indexer.flush()
    assert await mark(one) == 1
    assert await enrolled(one, "u-2", 2) == 201
    await asyncio.to_thread(workers.server.kill)
    with pytest.raises(VectorsUnavailable):
        await one.indexer.flush()
    assert await mark(one) == 1
    await asyncio.to_thread(workers.server.start)
    await until_answering(one.vectors)
    await until_answering(other.vectors)
    assert await enrolled(other, "u-3", 3) == 201
    await other.indexer.flush()
    await one.indexer.flush()  # It knows of two changes only, and takes nothing back.
    assert await mark(one) == 3


async def test_an_enrolment_waits_for_an_index_that_is_down_and_is_decided_once(workers: Workers) -> None:
    one = await workers.one()
    assert await enrolled(one, "u-1", 1) == 201
    job, delivery = await one.enrolment("u-2", person(2))
    await asyncio.to_thread(workers.server.kill)
    with pytest.raises(VectorsUnavailable):
        await one.registrar.handle(one.company_id, [delivery])
    assert (await one.ended(job)).state is JobState.QUEUED
    await asyncio.to_thread(workers.server.start)
    await until_answering(one.vectors)
    await one.registrar.handle(one.company_id, [delivery])
    assert (await one.ended(job)).http_status == 201
    assert len(await one.points()) == 2


async def test_an_index_is_made_anew_under_workers_and_nobody_is_missed(workers: Workers) -> None:
    """Between every two steps somebody is enrolled, searched for and tried as somebody else."""
    one, other = await workers.one(), await workers.one()
    for number in range(3):
        assert await enrolled(one, f"u-{number}", number) == 201
    await one.indexer.flush()
    former = one.vectors.edition
    vectors = workers.adapter()
    await vectors.start_anew()

    async def retire() -> None:
        assert await enrolled(one, "u-3", 3) == 201
        assert len(await found(other, 3)) == 1
        await vectors.remove_others()
        for worker in (one, other):
            with pytest.raises(VectorsUnavailable):
                await found(worker, 3)

    async def put_in_use() -> None:
        with pytest.raises(VectorsUnavailable):
            await enrolled(one, "u-4", 4)
        await vectors.put_in_use()

    renewal = Renewal(vectors, retire, put_in_use)
    done = await reindex_anew(one.services, renewal, COLLECTION, [one.company_id])
    assert [(part.points, part.strays_removed) for part in done] == [(3, 0)]
    for worker in (one, other):
        await until_answering(worker.vectors)
        assert worker.vectors.edition == vectors.edition != former
        for number in range(4):
            assert len(await found(worker, number)) == 1
    assert await enrolled(other, "u-5", 3, variation=1) == 409
    assert await enrolled(one, "u-6", 6) == 201
    marks = (await one.services.documents.find(INDEX_MARKS, one.company_id)).items
    assert [noted.id for noted in marks] == [mark_id(COLLECTION, vectors.edition)]


async def test_an_index_that_was_lost_is_filled_again_and_lets_no_duplicate_in(workers: Workers) -> None:
    one = await workers.one()
    for number in range(3):
        assert await enrolled(one, f"u-{number}", number) == 201
    await one.indexer.flush()
    thief = workers.adapter()
    await thief.start()
    await thief._calls.client.delete_collection(f"{workers.name}~1")
    with pytest.raises(VectorsUnavailable):
        await found(one, 0)
    with pytest.raises(VectorsUnavailable):
        await enrolled(one, "u-3", 0, variation=1)
    fresh = await workers.one()  # Its start makes a new index, whose marks say nothing.
    assert await found(fresh, 0) == []
    await until_answering(one.vectors)
    # The process that knew of three changes before the loss does not rely on them.
    assert await enrolled(one, "u-4", 0, variation=1) == 409
    await fresh.indexer.catch_up_all()
    for number in range(3):
        assert len(await found(fresh, number)) == 1


@pytest.mark.parametrize("adapter", ["edge", "qdrant"])
async def test_by_settings_alone_an_index_is_opened_and_made_anew(
    workers: Workers, services: Services, adapter: str
) -> None:
    chosen = {"vectors": adapter, "qdrant_url": workers.server.address.url}
    settings = services.settings.model_copy(update=chosen)
    company_id = await workers.another_company()
    async with open_vectors(settings, MODEL, services.clock) as vectors:
        assert await enrolled(assembled(services, vectors, company_id), "u-1", 1) == 201
        points, _ = await vectors.scroll(company_id, after=None, limit=9)
        await vectors.delete(company_id, [point.face_id for point in points])  # As if it were damaged.
    await take_back_marks(services, COLLECTION, [company_id])
    async with renew_vectors(settings, MODEL, services.clock) as renewal:
        (done,) = await reindex_anew(services, renewal, COLLECTION, [company_id])
        assert done.points == 1
    async with open_vectors(settings, MODEL, services.clock) as vectors:
        assert len(await found(assembled(services, vectors, company_id), 1)) == 1


async def test_what_is_not_safe_on_disk_is_reckoned_from_the_marks_of_the_edition_in_use(
    workers: Workers, services: Services
) -> None:
    worker = await workers.one()
    assert await enrolled(worker, "u-1", 1) == 201
    for pending in (1, 0):
        await measure_index(services, worker.vectors, COLLECTION)
        assert services.metrics.value(INDEX_FACES.name) == 1
        assert services.metrics.value(INDEX_PENDING.name) == pending
        await worker.indexer.flush()
