"""A real service for a benchmark alone: a process of its own, embedded, with as many synthetic faces as asked
for, and nothing of it left afterwards."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import psutil
from rich.console import Console
from rich.progress import Progress

from faceid_client import AsyncClient
from infra.clock import SystemClock
from infra.crypto.passwords import Passwords
from infra.opening import collection_name, open_services, open_vectors
from infra.services import Services
from infra.settings import Settings
from scripts.bench.load_report import Filling, LoadFailed
from scripts.bench.population import Population
from scripts.bench.records import fill_records
from scripts.bench.room import bytes_below
from scripts.service_process import ServiceProcess
from scripts.setup import set_up
from workers.recognition.model import CalibratedModel
from workers.reindexing import reindex

_PHOTOS_A_USER: Final = 2
_EMAIL: Final = "bench@example.com"
_PASSWORD: Final = "a long enough password"  # noqa: S105 - of a company that exists for this run, on loopback

_SETTINGS: Final = {
    # Whatever the environment says for the service that is in use here: this one is embedded.
    "FACEID_BROKER": "sqlite",
    "FACEID_DOCUMENTS": "sqlite",
    "FACEID_VECTORS": "edge",
    "FACEID_OBJECTS": "filesystem",
    "FACEID_METRICS_LISTEN": "",
    "FACEID_TRACES_ENDPOINT": "",
    # Longer than any run.
    "FACEID_ACCESS_TOKEN_S": "86400",
}


@dataclass
class OwnService:
    """How it is made."""

    home: Path
    model: CalibratedModel
    faces: int
    seed: int
    told: Console

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[tuple[AsyncClient, Filling]]:
        """The service, ready, with a client that is logged in to its company."""
        process = ServiceProcess(self.home / "service", self.home / "service.log", _SETTINGS)
        settings = Settings.model_validate(
            {name.removeprefix("FACEID_").lower(): value for name, value in process.settings.items()}
        )
        await asyncio.to_thread(set_up, settings, _unsaid)
        records_s, reindex_s = await self._fill(settings)
        disk_bytes = bytes_below(settings.data_dir)
        began_s = time.perf_counter()
        try:
            await process.start()
            start_s = time.perf_counter() - began_s
            async with AsyncClient(process.url, ca_file=process.ca_file) as api:
                await api.login(_EMAIL, _PASSWORD)
                filling = Filling(
                    records_a_second=round(self.faces / records_s),
                    reindexed_a_second=round(self.faces / reindex_s),
                    start_s=round(start_s, 2),
                    disk_bytes_a_face=round(disk_bytes / self.faces, 1),
                    memory_bytes=_memory_bytes(process.pid),
                )
                self._say(
                    f"{self.faces:,} faces: records in {records_s:.1f} s, index made of them in"
                    f" {reindex_s:.1f} s, {filling.disk_bytes_a_face:,.0f} bytes a face on disk; ready in"
                    f" {start_s:.1f} s with {filling.memory_bytes / 1e6:,.0f} MB of memory"
                )
                yield api, filling
        finally:
            await process.stop()

    async def _fill(self, settings: Settings) -> tuple[float, float]:
        """Seconds for the records, and for the index."""
        population = Population(self.seed, _PHOTOS_A_USER)
        model = self.model
        clock = SystemClock()
        async with open_services(settings, model.stamp, model.calibration, clock) as services:
            company_id = await _company(services)
            began_s = time.perf_counter()
            with Progress(console=self.told, transient=True, disable=not self.told.is_terminal) as shown:
                task = shown.add_task("records written", total=self.faces)
                await fill_records(
                    services,
                    company_id,
                    self.faces,
                    population,
                    _PHOTOS_A_USER,
                    lambda number: shown.advance(task, number),
                )
            filled_s = time.perf_counter()
            async with open_vectors(settings, model.stamp, clock) as vectors:
                (done,) = await reindex(services, vectors, collection_name(model.stamp), [company_id])
        if done.points != self.faces:
            raise LoadFailed(f"The index has {done.points:,} points for {self.faces:,} faces.")
        return filled_s - began_s, time.perf_counter() - filled_s

    def _say(self, words: str) -> None:
        self.told.print(words, soft_wrap=True)


async def _company(services: Services) -> UUID:
    """What `POST /register` makes, without a service that runs."""
    passwords = Passwords(concurrency=1)
    try:
        company, _ = await services.accounts.register(
            company_name="Bench",
            email=_EMAIL,
            password_hash=await passwords.hash(_PASSWORD),
            model=services.model,
        )
    finally:
        await passwords.close()
    return UUID(company.id)


def _memory_bytes(pid: int) -> int:
    """Of the process and its children; what they share is counted once a process."""
    service = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (service, *service.children(recursive=True)))


def _unsaid(_: str) -> None:
    """Nobody need keep a copy of keys that are gone with the run."""
