"""A million entries of the access log, streamed by the real service:
`.venv/bin/pytest -s -m long tests/system/test_export.py`.

The figures are printed; what is asserted is that nothing is missing and that memory stays flat.
"""

import asyncio
import sqlite3
import statistics
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import aiohttp
import psutil
import pytest

from faceid_client import AsyncClient
from infra.clock import SystemClock, system_entropy
from infra.documents.sqlite import SqliteDocuments
from infra.keys.company import CompanyKey
from infra.opening import open_services
from infra.repositories.access_log import LogEntry, logged
from infra.repositories.collections import JOBS
from infra.settings import Settings
from infra.sqlite import records
from infra.sqlite.table import Table
from schemas.ids import new_id
from schemas.jobs import JobKind, JobRecord, JobState, LogDetails, Outcome
from scripts.photos import Photos
from scripts.service_process import ServiceProcess
from tests.ingress.conftest import CALIBRATION, MODEL
from tests.system.beating_service import BEATS_FILE, Beats, lateness_ms

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

ENTRIES = 1_000_000
FLAT_BYTES = 64 * 2**20
"""The writer's cache (32 MiB), which the searches meanwhile fill, and as much for all else. An export is of
300 to 600 MiB."""
WARMING = 100_000
"""So many entries fill the caches of the store's readers (32 MiB each), which are a bound of their own."""
BATCH = 50_000
QUIET_S = 10
USERS = 1000
DEVICES = 50
NEWEST = datetime(2026, 6, 1, tzinfo=UTC)
ACCOUNT = {"company_name": "Acme", "email": "ada@example.org", "password": "correct horse battery"}


@pytest.fixture
def beats(tmp_path: Path) -> Beats:
    return Beats.at(tmp_path / "beats")


@pytest.fixture
async def service(tmp_path: Path, beats: Beats) -> AsyncIterator[ServiceProcess]:
    service = ServiceProcess(
        tmp_path / "home",
        tmp_path / "serve.log",
        {BEATS_FILE: str(tmp_path / "beats")},
        program="tests.system.beating_service",
    )
    await service.start()
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        registered = await api.call("POST", "/register", json=ACCOUNT)
    await service.stop()
    await fill(service, UUID(registered.body["company_id"]))
    await service.start()
    yield service
    await service.stop()


async def fill(service: ServiceProcess, company_id: UUID) -> None:
    """Entries as the terminal write makes them, straight into the file that the service will open."""
    settings = Settings(
        data_dir=Path(service.settings["FACEID_DATA_DIR"]),
        master_key_file=Path(service.settings["FACEID_MASTER_KEY_FILE"]),
        key_store=service.settings["FACEID_KEY_STORE"],
    )
    table = Table(JOBS)
    async with open_services(settings, MODEL, CALIBRATION, SystemClock()) as services:
        assert isinstance(services.documents, SqliteDocuments)
        key = await services.keys.get(company_id)
        users = [key.lookup("user.id", f"user-{number}") for number in range(USERS)]
        await services.documents._file.write(roomy, synced=False)
        for start in range(0, ENTRIES, BATCH):

            def batch(connection: sqlite3.Connection, start: int = start) -> None:
                for number in range(start, start + BATCH):
                    record = entry(number, users[number % USERS], key)
                    records.insert(connection, table, company_id.bytes, record, record.model_dump_json())

            await services.documents._file.write(batch, synced=False, timeout_s=300)


def roomy(connection: sqlite3.Connection) -> None:
    """Let a commit hold what it changes in memory: spilt, the same pages would be written over and over."""
    connection.execute("PRAGMA cache_size = -524288")


def entry(number: int, user_hash: str, key: CompanyKey) -> JobRecord:
    """One of three matched; each at a door, a second after the one before."""
    at = NEWEST - timedelta(seconds=ENTRIES - number)
    job = JobRecord(
        id=str(new_id(at, system_entropy)),
        kind=JobKind.SEARCH,
        state=JobState.SUCCEEDED,
        created_at=at,
        ended_at=at,
        deadline_at=None,
        submitted_by="member:0198c0de-0000-7000-8000-000000000001",
        correlation_id=f"attempt-{number}",
        wrapped_key=None,
    )
    matched = number % 3 == 0
    written = LogEntry(
        outcome=Outcome.MATCHED if matched else Outcome.NOT_MATCHED,
        user_hashes=(user_hash,) if matched else (),
        details=LogDetails(
            id=job.id,
            user_id=f"user-{number % USERS}" if matched else None,
            nearest_user_id=None if matched else f"user-{number % USERS}",
            location={"device_id": f"door-{number % DEVICES}", "site": "hq"},
        ),
        photo_hash=f"{number:032x}",
        score=0.5,
        similarity=0.6,
        confidence_percent=91.25,
        threshold_percent=85,
    )
    return job.model_copy(update=dict(logged(job, written, key)))


async def test_a_million_entries_are_streamed_in_flat_memory(
    service: ServiceProcess, beats: Beats, photos: Photos
) -> None:
    process = psutil.Process(service.pid)
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        await api.login(ACCOUNT["email"], ACCOUNT["password"])
        cold = process.memory_info().rss
        await streamed(api, "text/csv", process, limit=WARMING)
        warm = process.memory_info().rss
        print(f"\nmemory: {cold / 2**20:.0f} MiB cold, {warm / 2**20:.0f} MiB with full caches")
        async with meanwhile(service, beats, photos, "nothing else"):
            await asyncio.sleep(QUIET_S)  # Not waited for: measured.
        for accept in ("text/csv", "application/x-ndjson"):
            started_s, used_s = time.monotonic(), sum(process.cpu_times()[:2])
            async with meanwhile(service, beats, photos, accept):
                newlines, size, peak, last = await streamed(api, accept, process)
            duration_s, used_s = time.monotonic() - started_s, sum(process.cpu_times()[:2]) - used_s
            after = process.memory_info().rss
            print(
                f"{accept}: {newlines:,} lines, {size / 2**20:,.0f} MiB in {duration_s:.0f} s "
                f"({used_s:.0f} s of processor); memory of the service at most "
                f"{(peak - warm) / 2**20:+.1f} MiB, {(after - warm) / 2**20:+.1f} MiB after"
            )
            assert newlines == ENTRIES + (accept == "text/csv")
            assert last.endswith(b"\n")
            assert peak - warm < FLAT_BYTES
        for query in ({}, {"user_id": "user-3"}, {"device_id": "door-3"}, {"outcome": "matched"}):
            await first_and_deep_page(api, query)


async def streamed(
    api: AsyncClient, accept: str, process: psutil.Process, limit: int | None = None
) -> tuple[int, int, int, bytes]:
    """Lines and bytes that came, the most memory that the service had meanwhile, and the last that came.

    Of the entries that were there before the test: its own searches are younger."""
    newlines = size = peak = 0
    last = b""
    headers = {"Authorization": f"Bearer {api.token}", "Accept": accept}
    params = {"to": NEWEST.isoformat(), **({} if limit is None else {"limit": str(limit)})}
    timeout = aiohttp.ClientTimeout()
    async with api._session().get(
        f"{api.url}/logs", headers=headers, params=params, timeout=timeout
    ) as response:
        assert response.status == 200
        async for chunk in response.content.iter_any():
            newlines += chunk.count(b"\n")
            size += len(chunk)
            peak = max(peak, process.memory_info().rss)
            last = chunk
    return newlines, size, peak, last


@asynccontextmanager
async def meanwhile(
    service: ServiceProcess, beats: Beats, photos: Photos, during: str
) -> AsyncGenerator[None]:
    """Print how late the service's loop was during the block, and how long others had to wait."""
    photo, before = photos.stranger.read_bytes(), beats.so_far()
    others = {
        "/healthz": asyncio.create_task(answer_times(service, "GET", "/healthz", None)),
        "/face/search": asyncio.create_task(answer_times(service, "POST", "/face/search", photo)),
    }
    yield
    after = beats.so_far()
    shares = {"median": 0.5, "99 %": 0.99, "99.9 %": 0.999, "most": 1.0}
    late = ", ".join(f"{name} {lateness_ms(before, after, share):.1f}" for name, share in shares.items())
    print(f"\nbeside {during}, ms: the loop was late by {late}")
    for what, answering in others.items():
        answering.cancel()
        waits_ms = await answering
        print(
            f"  {what}: {len(waits_ms)} times, median {statistics.median(waits_ms):.1f}, 99 % "
            f"{statistics.quantiles(waits_ms, n=100)[98]:.1f}, most {max(waits_ms):.1f}"
        )


async def answer_times(service: ServiceProcess, method: str, path: str, photo: bytes | None) -> list[float]:
    """How long a request takes, over and over until cancelled, in ms."""
    times_ms: list[float] = []
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        await api.login(ACCOUNT["email"], ACCOUNT["password"])
        try:
            while True:
                started_s = time.monotonic()
                answer = await api.call(method, path, photo=photo)
                assert answer.status == 200
                times_ms.append((time.monotonic() - started_s) * 1000)
                await asyncio.sleep(0.02)  # Not to be a load itself.
        except asyncio.CancelledError:
            return times_ms


async def first_and_deep_page(api: AsyncClient, query: dict[str, str]) -> None:
    """Print what the first page costs, and one that lies near the end."""
    (deep,) = (
        await api.call("GET", "/logs", params={**query, "limit": "1", "to": "2026-05-23T00:00:00Z"})
    ).body["items"]
    costs_ms: list[float] = []
    for params in ({}, {"to": deep["time"]}):
        times_ms: list[float] = []
        for _ in range(20):
            started_s = time.monotonic()
            page = await api.call("GET", "/logs", params={**query, **params, "limit": "50"})
            times_ms.append((time.monotonic() - started_s) * 1000)
            assert len(page.body["items"]) == 50
        costs_ms.append(statistics.median(times_ms))
    print(f"{query or 'all'}: first page {costs_ms[0]:.1f} ms, deep page {costs_ms[1]:.1f} ms")
