"""`faceid serve`: one host process with ingress and all workers; compute and index are its children."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from infra.clock import SystemClock
from infra.opening import open_services
from infra.services import Services
from infra.settings import WORKER_ROLES, Settings
from infra.watching import serving_metrics
from scripts.control import taking_operations
from scripts.listening import certified, listening, told_address
from scripts.process_life import Running, run_process
from scripts.working import Crew
from workers.recognition.model import known_model


@dataclass(frozen=True)
class RunningService:
    """A service that is ready. `failed` ends, with the error, when a part of it can't go on."""

    url: str
    services: Services
    failed: asyncio.Task[None]


@asynccontextmanager
async def running_service(settings: Settings) -> AsyncGenerator[RunningService]:
    """Start everything in order and yield when it is ready; at the end no new work is taken first, then what
    was taken is finished."""
    clock = SystemClock()
    model = known_model(settings.model)
    crew = Crew.of(settings, WORKER_ROLES)
    async with (
        open_services(settings, model.stamp, model.calibration, clock) as services,
        certified(settings, clock) as context,
        serving_metrics(services),
        taking_operations(services),
        crew.at_work(services) as working,
        listening(services, context, working.host.check) as url,
    ):
        yield RunningService(url, services, working.failed)


async def serve(settings: Settings, say: Callable[[str], None]) -> int:
    """Run until SIGTERM or SIGINT, then drain; the exit status."""
    return await run_process(_told(settings), settings, say)


@asynccontextmanager
async def _told(settings: Settings) -> AsyncGenerator[Running]:
    async with running_service(settings) as running:
        yield Running(told_address(settings, running.url), running.failed)
