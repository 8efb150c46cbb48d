"""`faceid worker`: some or all of what works on jobs, over stores that it shares with other processes."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from infra.clock import SystemClock
from infra.opening import open_services
from infra.settings import Settings
from infra.watching import serving_metrics
from scripts.process_life import Running, run_process
from scripts.sharing import shared_stores
from scripts.working import Crew
from workers.presence import present
from workers.recognition.model import known_model


async def serve_worker(settings: Settings, say: Callable[[str], None]) -> int:
    """Run until SIGTERM or SIGINT, then drain; the exit status. Raises NotShared, and WeightsError."""
    shared_stores(settings, "worker")
    return await run_process(_worker(settings), settings, say)


@asynccontextmanager
async def _worker(settings: Settings) -> AsyncGenerator[Running]:
    clock = SystemClock()
    model = known_model(settings.model)
    crew = Crew.of(settings, settings.roles)
    async with (
        open_services(settings, model.stamp, model.calibration, clock) as services,
        serving_metrics(services),
        crew.at_work(services) as working,
        present(services, settings.roles, working.host.check),
    ):
        yield Running(f"faceid works: {', '.join(settings.roles)}", working.failed)
