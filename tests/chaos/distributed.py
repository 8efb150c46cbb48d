"""The service as many processes over servers: each of them, and each server, may be killed."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from infra.settings import Settings
from tests.chaos.cluster import Cluster
from tests.stores import Servers
from tests.system.cluster import Cluster as Processes

_INGRESSES: Final = 2
_WORKERS: Final = 2


class _Server(Protocol):
    def kill(self) -> None: ...
    def restart(self) -> None: ...


class DistributedCluster(Cluster):
    """Two ingresses and two workers, a broker, records, photos and an index, all on this machine."""

    def __init__(self, processes: Processes, servers: Servers) -> None:
        self._processes = processes
        self._servers: dict[str, _Server] = {
            "broker": servers.kafka,
            "documents": servers.mongo,
            "objects": servers.s3,
            "index": servers.qdrant,
        }

    @property
    def victims(self) -> Sequence[str]:
        return ("ingress", "worker", *self._servers)

    def urls(self) -> Sequence[str]:
        return [process.url for process in self._processes.ingresses]

    async def start(self) -> None:
        await self._processes.set_up()
        for _ in range(_WORKERS):
            await self._processes.add_worker()
        for _ in range(_INGRESSES):
            await self._processes.add_ingress()
        self.ca_file = self._processes.ingresses[0].ca_file

    async def kill(self, victim: str, chance: random.Random) -> None:
        match victim:
            case "ingress":
                await self._processes.kill(chance.choice(self._processes.ingresses))
                await self._processes.add_ingress()
            case "worker":
                await self._processes.kill(chance.choice(self._processes.workers))
                await self._processes.add_worker()
            case _:
                server = self._servers[victim]
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.restart)

    async def stop(self) -> Settings:
        some = self._processes.ingresses[0]
        await self._processes.stop()
        return Settings.model_validate(
            {name.removeprefix("FACEID_").lower(): value for name, value in some.settings.items()}
        )

    async def close(self) -> None:
        """End what is left after a failure."""
        for process in [*self._processes.ingresses, *self._processes.workers]:
            await self._processes.kill(process)


@asynccontextmanager
async def distributed_cluster(
    folder: Path, servers: Servers, environment: dict[str, str]
) -> AsyncGenerator[DistributedCluster]:
    """Processes in a folder of their own, over servers of the test's own."""
    own = {"FACEID_COMPUTE_THREADS": "1", "FACEID_DRAIN_S": "30"}
    cluster = DistributedCluster(Processes(folder, {**servers.environment, **own, **environment}), servers)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.close()
