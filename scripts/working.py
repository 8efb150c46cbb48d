"""The working part of a process: the roles it has, with the compute process and the index they need."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from infra.child import ChildProcess
from infra.folder_lock import FolderLock
from infra.opening import collection_name, open_vectors
from infra.owning import owned
from infra.services import Services
from infra.settings import Settings, WorkerRole
from schemas.recognition import PhotoLimits
from workers.host import WorkerHost
from workers.recognition.compute import Compute, compute_child
from workers.recognition.model import calibrated_model
from workers.recognition.opener_process import OpenerBudget
from workers.recognition.weights import find_weights
from workers.roles import NEEDS_INDEX, NEEDS_MODEL, Index


@dataclass(frozen=True)
class Working:
    """Workers that are ready. `failed` ends, with the error, when they can't go on."""

    host: WorkerHost
    failed: asyncio.Task[None]


@dataclass(frozen=True)
class Crew:
    """Roles, and the compute process if they need the model; not started yet."""

    roles: tuple[WorkerRole, ...]
    child: ChildProcess | None
    open_timeout_s: float

    @classmethod
    def of(cls, settings: Settings, roles: Collection[WorkerRole]) -> "Crew":
        """Raises WeightsError for weights that are not there, or not those of the program's model."""
        needs_model = not NEEDS_MODEL.isdisjoint(roles)
        child = _compute_child(settings) if needs_model else None
        return cls(tuple(roles), child, settings.open_timeout_s)

    @asynccontextmanager
    async def at_work(self, services: Services) -> AsyncGenerator[Working]:
        """Work until the block ends, then finish what was taken.

        Ready means: the model has been loaded and tried, and the index has every face that the records have.
        """
        async with AsyncExitStack() as stack:
            index = compute = None
            if not NEEDS_INDEX.isdisjoint(self.roles):
                if services.settings.vectors == "edge":  # Which has one owner, told of here in a line.
                    stack.callback(FolderLock(services.settings.data_dir / "index").close)
                vectors = await stack.enter_async_context(
                    open_vectors(services.settings, services.model, services.clock)
                )
                index = Index(vectors, collection_name(services.model))
            if self.child is not None:
                stack.push_async_callback(self.child.close)
                await self.child.start()
                compute = Compute(self.child, open_timeout_s=self.open_timeout_s)
            host = WorkerHost(services, self.roles, index=index, compute=compute)
            await host.prepare()
            failed = await stack.enter_async_context(owned(host.run(), "workers"))
            try:
                yield Working(host, failed)
            finally:
                await host.drain(services.settings.drain_s)


def _compute_child(settings: Settings) -> ChildProcess:
    limits = PhotoLimits(max_bytes=settings.max_photo_bytes, max_pixels=settings.max_photo_pixels)
    opener = OpenerBudget(
        timeout_s=settings.open_timeout_s,
        cpu_s=settings.open_cpu_s,
        memory_bytes=settings.open_memory_bytes,
    )
    files = calibrated_model(find_weights(settings.model, settings.cache_dir)).files
    return compute_child(
        files, device=settings.device, threads=settings.compute_threads, limits=limits, opener=opener
    )
