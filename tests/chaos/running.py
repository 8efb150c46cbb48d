"""One run: the load, the kills, and the verdict."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from faceid_client import AsyncClient
from scripts.photos import Photos
from tests.chaos.calls import Calls
from tests.chaos.cluster import Cluster
from tests.chaos.lives import Life, lives
from tests.chaos.verdict import faults

ENVIRONMENT: Final = {
    # A search waits as long as it takes here: what is tested is that it is done, not how soon.
    "FACEID_SEARCH_TTL_S": "3600",
    # So that some photos travel inline and some as blobs.
    "FACEID_MAX_INLINE_BYTES": "48000",
}

_COMPANIES: Final = 3
_PEOPLE_AT_ONCE: Final = 12
_SCOPES: Final = ("faces:read", "faces:write", "search", "logs:read")
_POLICIES: Final = {
    # A few real people stand for many, so everybody is somebody else's double.
    "duplicate": {"on_duplicate": "allow"},
}


@dataclass
class Report:
    """What a run came to."""

    seed: int
    jobs: int
    duration_s: float = 0.0
    kills: Counter[str] = field(default_factory=Counter[str])
    told: Counter[str] = field(default_factory=Counter[str])
    log_entries: int = 0
    faults: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        kills = ", ".join(f"{victim} {count}" for victim, count in sorted(self.kills.items()))
        told = ", ".join(f"{what} {count}" for what, count in sorted(self.told.items()))
        verdict = "\n".join(self.faults) or "every job has one result, record, point, event and log entry"
        return (
            f"seed {self.seed}: {self.jobs} jobs, {self.kills.total()} kills ({kills}) in"
            f" {self.duration_s:.0f} s; calls: {told}; {self.log_entries} log entries\n{verdict}"
        )


async def run(cluster: Cluster, photos: Photos, *, jobs: int, kills: int, seed: int) -> Report:
    """Have so many jobs done while so many parts are killed; the same seed asks and kills the same."""
    chance = random.Random(seed)
    report = Report(seed, jobs)
    companies = {
        await _company(cluster, number, chance, report): lives(photos, jobs // _COMPANIES, chance)
        for number in range(_COMPANIES)
    }
    started_s = time.monotonic()
    progress = _Progress(sum(len(life.steps) for people in companies.values() for life in people))
    async with asyncio.TaskGroup() as group:
        group.create_task(_killing(cluster, kills, chance, progress, report))
        places = asyncio.Semaphore(_PEOPLE_AT_ONCE)
        for calls, people in companies.items():
            for life in people:
                group.create_task(_lived(calls.calls, str(calls.company_id), life, places, progress))
    for company, people in companies.items():
        report.faults += await _faults_of_log(company.calls, people, report)
    report.duration_s = time.monotonic() - started_s
    galleries = {company.company_id: people for company, people in companies.items()}
    report.faults += await faults(await cluster.stop(), galleries)
    return report


class _Progress:
    """How many steps were taken; wakes who waits for a number of them."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._taken = 0
        self._moved = asyncio.Condition()
        self._notices = set[asyncio.Task[None]]()

    def step(self) -> None:
        self._taken += 1
        notice = asyncio.create_task(self._notify())
        self._notices.add(notice)
        notice.add_done_callback(self._notices.discard)

    async def until(self, taken: int) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._taken >= taken)

    async def _notify(self) -> None:
        async with self._moved:
            self._moved.notify_all()


@dataclass(frozen=True, eq=False)
class _Company:
    company_id: UUID
    calls: Calls


async def _company(cluster: Cluster, number: int, chance: random.Random, report: Report) -> _Company:
    account = {
        "company_name": f"Company {number}",
        "email": f"admin-{number}@example.com",
        "password": "a long enough password",
    }
    async with AsyncClient(cluster.urls()[0], ca_file=cluster.ca_file) as api:
        company_id = UUID(await api.register(**account))
        await api.login(account["email"], account["password"])
        await api.request("PATCH", "/company", json={"policies": _POLICIES})
        key = await api.request("POST", "/api-keys", json={"name": "door", "scopes": _SCOPES})
    calls = Calls(
        cluster.urls, cluster.ca_file, key.body["api_key"], random.Random(chance.random()), report.told
    )
    return _Company(company_id, calls)


async def _lived(
    calls: Calls, company: str, life: Life, places: asyncio.Semaphore, progress: _Progress
) -> None:
    async with places:
        await life.live(calls, company, progress.step)


async def _killing(
    cluster: Cluster, kills: int, chance: random.Random, progress: _Progress, report: Report
) -> None:
    """Kill parts at random, spread over the work: each is killed about as often as the others."""
    victims = [cluster.victims[turn % len(cluster.victims)] for turn in range(kills)]
    chance.shuffle(victims)
    moments = sorted(chance.randrange(progress.steps * 9 // 10) for _ in victims)
    for victim, moment in zip(victims, moments, strict=True):
        await progress.until(moment)
        await cluster.kill(victim, chance)
        report.kills[victim] += 1


async def _faults_of_log(calls: Calls, people: Sequence[Life], report: Report) -> list[str]:
    """What auditors see: one entry an attempt."""
    entries = Counter(entry["job_id"] for entry in await calls.items("/logs"))
    report.log_entries += entries.total()
    attempts = sum(step in {"enroll", "search", "verify"} for life in people for step in life.done)
    twice = [job_id for job_id, count in entries.items() if count > 1]
    found = [f"entries of the log are there twice: {twice}"] if twice else []
    if entries.total() != attempts:
        found.append(f"{attempts} attempts have {entries.total()} log entries")
    return found
