"""The service on one machine: a host process, and its children for the model, for opening photos and for the
index."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psutil

from infra.settings import Settings
from scripts.service_process import ServiceProcess
from tests.chaos.cluster import Cluster

_HOST: Final = "host"
_CHILDREN: Final = ("compute_child", "opener_child", "edge_child")


class EmbeddedCluster(Cluster):
    """`faceid serve`. When its host is killed its children must end with it."""

    def __init__(self, process: ServiceProcess) -> None:
        self._process = process
        self._is_up = False

    @property
    def victims(self) -> Sequence[str]:
        return (_HOST, *_CHILDREN)

    def urls(self) -> Sequence[str]:
        return [self._process.url] if self._is_up else []

    async def start(self) -> None:
        await self._process.start()
        self.ca_file = self._process.ca_file
        self._is_up = True

    async def kill(self, victim: str, chance: random.Random) -> None:
        host = psutil.Process(self._process.pid)
        tree = host.children(recursive=True)
        if victim == _HOST:
            self._is_up = False
            await self._process.kill()
            _, orphans = await asyncio.to_thread(psutil.wait_procs, tree, timeout=10)
            assert not orphans, "killing the host left its children behind"
            await self.start()
            return
        for child in tree:
            with contextlib.suppress(psutil.NoSuchProcess):  # One that was killed before may be dying yet.
                if any(part.endswith(victim) for part in child.cmdline()):
                    child.send_signal(signal.SIGKILL)

    async def stop(self) -> Settings:
        self._is_up = False
        assert await self._process.stop() == 0
        return Settings.model_validate(
            {name.removeprefix("FACEID_").lower(): value for name, value in self._process.settings.items()}
        )


@asynccontextmanager
async def embedded_cluster(folder: Path, environment: dict[str, str]) -> AsyncGenerator[EmbeddedCluster]:
    """A service in a folder of its own."""
    process = ServiceProcess(folder, folder / "serve.log", extra_environment=environment)
    cluster = EmbeddedCluster(process)
    await cluster.start()
    try:
        yield cluster
    finally:
        await process.stop()
