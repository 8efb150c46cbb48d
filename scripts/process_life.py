"""A process of the service, from its start to the signal that ends it."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from infra.settings import Settings
from infra.telemetry import configure_logging, get_logger, log_uncaught

_log = get_logger(__name__)


@dataclass(frozen=True)
class Running:
    """A process that is ready. `says` is for its operator; `failed` ends, with the error, when a part of it
    can't go on."""

    says: str
    failed: asyncio.Task[None] | None = None


async def run_process(
    process: AbstractAsyncContextManager[Running], settings: Settings, say: Callable[[str], None]
) -> int:
    """Run until SIGTERM or SIGINT, then leave the context, which drains; the exit status. Either signal ends
    a start that is still under way."""
    configure_logging(settings.log_level)
    log_uncaught()
    started, stop = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(_run_until(stop, started, process, say), name="service")

    def end() -> None:
        stop.set()
        if not started.is_set():
            running.cancel()

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, end)
    await asyncio.wait((running,))
    return 0 if running.cancelled() else running.result()


async def _run_until(
    stop: asyncio.Event,
    started: asyncio.Event,
    process: AbstractAsyncContextManager[Running],
    say: Callable[[str], None],
) -> int:
    async with process as running:
        started.set()
        say(running.says)
        stopping = asyncio.create_task(stop.wait())
        parts = [stopping] if running.failed is None else [stopping, running.failed]
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if running.failed is not None and running.failed.done() and not stop.is_set():
            _log.critical("service_failed", exc_info=running.failed.exception())
            return 1
        _log.info("draining")
    return 0
