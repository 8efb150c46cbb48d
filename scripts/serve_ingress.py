"""`faceid ingress`: HTTPS alone, over stores that it shares with workers in other processes."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from infra.clock import SystemClock
from infra.opening import open_services
from infra.owning import owned
from infra.settings import Settings
from infra.watching import serving_metrics
from ingress.workers_seen import WorkersSeen
from scripts.listening import certified, listening, told_address
from scripts.process_life import Running, run_process
from scripts.sharing import shared_stores
from workers.recognition.model import known_model


async def serve_ingress(settings: Settings, say: Callable[[str], None]) -> int:
    """Run until SIGTERM or SIGINT, then drain; the exit status. Raises NotShared."""
    shared_stores(settings, "ingress")
    return await run_process(_ingress(settings), settings, say)


@asynccontextmanager
async def _ingress(settings: Settings) -> AsyncGenerator[Running]:
    clock = SystemClock()
    model = known_model(settings.model)
    async with (
        certified(settings, clock) as context,
        open_services(settings, model.stamp, model.calibration, clock) as services,
        serving_metrics(services),
    ):
        workers = WorkersSeen(services)
        async with (
            owned(workers.run(), "workers seen"),
            # Jobs can be accepted without a worker, so whether there is one is told, and decides nothing.
            listening(services, context, workers.state, host_decides=False) as url,
        ):
            yield Running(told_address(settings, url))
