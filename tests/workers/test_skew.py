"""Machines whose clocks are two minutes apart, each way: nothing is lost, doubled, or refused for its age."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import pytest

from infra.broker.topics import ENROLL, GROUP
from infra.child import ChildProcess
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.opening import open_services
from infra.repositories.access_log import LogFilter
from infra.repositories.claims import Claimant
from infra.seen import Seen
from infra.services import Services
from infra.settings import Settings
from infra.starting import started
from infra.submission import Submitter
from infra.vectors.port import Vectors
from ingress.idempotency import TAKEN_UP_AFTER
from ingress.workers_seen import WorkersSeen
from schemas.jobs import JobRecord, JobState, Outcome
from schemas.messages import EnrolmentFields, SearchFields
from tests.calibration import CALIBRATION
from tests.clocks import SkewedClock
from tests.stores import Servers
from tests.workers.conftest import COLLECTION, MODEL
from workers.ending import Finisher
from workers.host import WorkerHost
from workers.presence import present
from workers.recognition.compute import Compute
from workers.relay import Relay
from workers.roles import Index
from workers.sweeping import Sweeper

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

_SKEW: Final = timedelta(minutes=2)
_PATIENCE_S: Final = 60


@dataclass(frozen=True)
class Machines:
    """One that accepts and one that works, on the same servers."""

    ingress: Services
    worker: Services
    company_id: UUID

    async def search(self, photo: str) -> JobRecord:
        services = self.ingress
        return await services.submission.search(
            *(self._submitter, photo.encode(), SearchFields()),
            deadline_at=services.clock.now() + timedelta(seconds=services.settings.search_ttl_s),
            synced=True,
        )

    async def enroll(self, user_id: str, photo: str) -> JobRecord:
        user_hash = await self.ingress.users.hash_of(self.company_id, user_id)
        return await self.ingress.submission.enroll(
            *(self._submitter, photo.encode(), EnrolmentFields(user_id=user_id)),
            user_hash=user_hash,
            user_epoch=await self.ingress.users.epoch(self.company_id, user_hash),
            synced=True,
        )

    async def ended(self, jobs: list[JobRecord]) -> list[JobRecord]:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                found = [await self.ingress.jobs.get(self.company_id, UUID(job.id)) for job in jobs]
                done = [job for job in found if job is not None and job.state is not JobState.QUEUED]
                if len(done) == len(jobs):
                    return done

    @property
    def _submitter(self) -> Submitter:
        return Submitter(self.company_id, "member:test", "correlation", reply_to=None)


@pytest.fixture(
    params=[(-1, 0), (0, -1), (1, -1), (-1, 1)],
    ids=lambda pair: f"ingress{pair[0]:+d}-worker{pair[1]:+d}",
)
async def machines(
    request: pytest.FixtureRequest, tmp_path: Path, real_servers: Servers
) -> AsyncIterator[Machines]:
    settings = Settings(
        data_dir=tmp_path / "data",
        master_key_file=tmp_path / "keys" / "master.key",
        key_store=f"file:{tmp_path / 'keys' / 'companies'}",
        # So that some photos travel as blobs.
        max_inline_bytes=16,
        **real_servers.settings,
    )
    (tmp_path / "keys").mkdir(mode=0o700)
    master = MasterKey.create(settings.master_key_file)
    await open_key_store(settings.key_store).initialise(master.fingerprint)
    async with AsyncExitStack() as stack:
        ingress, worker = [
            await stack.enter_async_context(
                open_services(settings, MODEL, CALIBRATION, SkewedClock(times * _SKEW))
            )
            for times in request.param
        ]
        company, _ = await ingress.accounts.register(
            company_name="Acme", email=f"{uuid4().hex}@example.com", password_hash="", model=MODEL
        )
        # A cluster that has just come up says where groups are a moment later.
        await started("groups", lambda: worker.broker.lag(ENROLL, GROUP), worker.clock)
        yield Machines(ingress, worker, UUID(company.id))
    real_servers.forget()


@asynccontextmanager
async def working(services: Services, vectors: Vectors) -> AsyncGenerator[None]:
    child = ChildProcess("compute", "tests.workers.compute_stand_in", arguments={}, start_timeout_s=30)
    await child.start()
    try:
        host = WorkerHost(
            services, index=Index(vectors, COLLECTION), compute=Compute(child, open_timeout_s=1)
        )
        await host.prepare()
        running = asyncio.create_task(host.run())
        try:
            yield
        finally:
            await host.drain(20)
            await running
    finally:
        await child.close()


async def test_nothing_is_dropped_or_swept_for_its_age_and_nothing_done_twice(
    machines: Machines, vectors: Vectors
) -> None:
    sweepers = [
        Sweeper(services, Finisher(services, Relay(services)))
        for services in (machines.ingress, machines.worker)
    ]
    for sweeper in sweepers:
        await sweeper.drop_orphaned_blobs()  # of others, whose bucket it is, too
    people = [await machines.enroll(f"u-{number}", f"face {number} 0") for number in range(3)]
    probes = [await machines.search("face 7 0"), await machines.search("face 8 0" + " " * 64)]
    for sweeper in sweepers:
        assert await sweeper.end_lost_jobs() == 0, "they wait, however old they look"
        assert await sweeper.drop_orphaned_blobs() == 0
        await sweeper.drop_expired()
    claim, _ = await machines.ingress.claims.make(
        *(Claimant(machines.company_id, "key:test"), "claim"), fingerprint="f", made_id=uuid4()
    )
    age = machines.worker.clock.now() - claim.claimed_at
    assert abs(age) < TAKEN_UP_AFTER, "the other takes it up neither too soon nor too late"
    async with working(machines.worker, vectors):
        ended = await machines.ended([*people, *probes])
    assert [job.http_status for job in ended] == [201] * len(people) + [200] * len(probes)
    assert {job.outcome for job in ended[len(people) :]} == {Outcome.NOT_MATCHED}
    for sweeper in sweepers:
        assert await sweeper.end_lost_jobs() == 0
        await sweeper.drop_expired()
        await Relay(sweeper.services).sweep()
    entries = await machines.ingress.access_log.find(machines.company_id, LogFilter(), after=None, limit=50)
    assert sorted(entry.id for entry in entries.items) == sorted(job.id for job in ended)
    assert await vectors.count(machines.company_id) == len(people)
    for job in ended:
        assert job.ended_at is not None
        assert timedelta() <= job.ended_at - job.created_at < _SKEW


@pytest.mark.parametrize("machines", [(1, -1)], indirect=True, ids=["ingress+1-worker-1"])
async def test_a_worker_is_seen_by_its_signs_whatever_time_it_writes_on_them(machines: Machines) -> None:
    answers = {"model": "ready", "index": "ready"}

    async def ready() -> Seen:
        return Seen(answers)

    seen = WorkersSeen(machines.ingress)
    async with present(machines.worker, ("face", "registrar"), ready):
        await seen.look()
        async with asyncio.timeout(_PATIENCE_S):
            while (await seen.state()).parts != answers:  # its next sign, in seconds
                await seen.look()
                await asyncio.sleep(0)
