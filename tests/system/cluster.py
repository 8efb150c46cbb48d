"""The service as it runs on many machines: ingresses and workers as processes of their own, over servers that
they share."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from scripts.service_process import ServiceProcess

_TOLD_BYTES: Final = 4000


@dataclass
class Cluster:
    """Processes come and go. Keys, certificates and what is not on servers all have in one folder."""

    home: Path
    stores: Mapping[str, str]
    """Environment variables that say where the servers are."""
    ingresses: list[ServiceProcess] = field(default_factory=list[ServiceProcess])
    workers: list[ServiceProcess] = field(default_factory=list[ServiceProcess])
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def set_up(self) -> None:
        """Make keys, certificate, and what the servers need to have."""
        await self._process("setup", {}).set_up()

    async def add_ingress(self, **settings: str) -> ServiceProcess:
        """One more ingress, which is ready when this returns."""
        return await self._add("ingress", self.ingresses, settings)

    async def add_worker(self, **settings: str) -> ServiceProcess:
        """One more worker, which is ready when this returns."""
        return await self._add("worker", self.workers, settings)

    async def remove(self, process: ServiceProcess) -> None:
        """Take one away in good order. Nobody is sent to it any more, before it stops."""
        self._forget(process)
        status = await process.stop()
        assert status == 0, f"it ended with {status}\n{self.said()}"

    async def kill(self, process: ServiceProcess) -> None:
        self._forget(process)
        await process.kill()

    async def stop(self) -> None:
        """Ingresses first: what they still wait for is done by workers."""
        for processes in (self.ingresses, self.workers):
            await asyncio.gather(*map(self.remove, list(processes)))

    def said(self) -> str:
        """The end of what each process has logged: for whoever reads why a test failed."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-_TOLD_BYTES:]}"
            for log in sorted(self.home.glob("*.log"))
        )

    async def _add(
        self, command: str, to: list[ServiceProcess], settings: Mapping[str, str]
    ) -> ServiceProcess:
        process = self._process(command, settings)
        await process.start()
        to.append(process)
        return process

    def _process(self, command: str, settings: Mapping[str, str]) -> ServiceProcess:
        return ServiceProcess(
            self.home,
            self.home / f"{command}-{next(self._numbers)}.log",
            extra_environment={**self.stores, **settings},
            command=command,
        )

    def _forget(self, process: ServiceProcess) -> None:
        for members in (self.ingresses, self.workers):
            if process in members:
                members.remove(process)
