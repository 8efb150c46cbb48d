"""`faceid serve`: one host process with ingress and all workers; compute and index are its children."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from infra.child import ChildProcess
from infra.clock import SystemClock
from infra.opening import collection_name, open_services, open_vectors
from infra.services import Services
from infra.settings import Settings
from infra.telemetry import configure_logging, log_uncaught
from infra.tls.hosts import PublicHosts
from infra.tls.leaf import CertificateSource, LocalCertificate, OperatorCertificate
from infra.tls.renewer import LeafRenewer
from infra.watching import serving_metrics
from ingress.server import serve_ingress
from schemas.recognition import PhotoLimits
from scripts.control import taking_operations
from workers.host import WorkerHost
from workers.recognition.compute import Compute, compute_child
from workers.recognition.model import calibrated_model
from workers.recognition.opener_process import OpenerBudget
from workers.recognition.weights import find_weights

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RunningService:
    """A service that is ready. `failed` ends, with the error, when a part of it can't go on."""

    url: str
    services: Services
    failed: asyncio.Task[None]


@asynccontextmanager
async def running_service(settings: Settings) -> AsyncGenerator[RunningService]:
    """Start everything in order and yield when it is ready; at the end drain in the reverse order.

    Ready means: the model has been loaded and tried, and the index has every face that the records have.
    """
    clock = SystemClock()
    model = calibrated_model(find_weights(settings.model, settings.cache_dir))
    limits = PhotoLimits(max_bytes=settings.max_photo_bytes, max_pixels=settings.max_photo_pixels)
    opener = OpenerBudget(
        timeout_s=settings.open_timeout_s,
        cpu_s=settings.open_cpu_s,
        memory_bytes=settings.open_memory_bytes,
    )
    child = compute_child(
        model.files, device=settings.device, threads=settings.compute_threads, limits=limits, opener=opener
    )
    compute = Compute(child, open_timeout_s=opener.timeout_s)
    async with open_services(settings, model.stamp, model.calibration, clock) as services:
        renewer = await LeafRenewer.open(_certificate(settings, clock), clock)
        async with (
            serving_metrics(services),
            taking_operations(services),
            open_vectors(settings, model.stamp, clock) as vectors,
            _started(child),
        ):
            workers = WorkerHost(services, vectors, collection_name(model.stamp), compute, model.calibration)
            await workers.prepare()
            async with _owned(workers.run(), "workers") as failed, _owned(renewer.run(), "certificate"):
                ingress = await serve_ingress(services, renewer.context, workers.check)
                try:
                    url = f"https://{_printable(settings.listen_host)}:{ingress.port}"
                    yield RunningService(url, services, failed)
                finally:
                    # First no new work is taken, then what was taken is finished.
                    await ingress.stop()
                    await workers.drain(settings.drain_s)


async def serve(settings: Settings, say: Callable[[str], None]) -> int:
    """Run until SIGTERM or SIGINT, then drain; the exit status. Either signal ends a start that is still
    under way."""
    configure_logging(settings.log_level)
    log_uncaught()
    started, stop = asyncio.Event(), asyncio.Event()
    service = asyncio.create_task(_serve_until(stop, started, settings, say), name="service")

    def end() -> None:
        stop.set()
        if not started.is_set():
            service.cancel()

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, end)
    await asyncio.wait((service,))
    return 0 if service.cancelled() else service.result()


async def _serve_until(
    stop: asyncio.Event, started: asyncio.Event, settings: Settings, say: Callable[[str], None]
) -> int:
    async with running_service(settings) as running:
        started.set()
        trust = settings.tls_cert_file or settings.tls_dir / "ca.pem"
        say(f"faceid listens on {running.url} (trust {trust})")
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((stopping, running.failed), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if running.failed.done() and not stop.is_set():
            _log.critical("service_failed", exc_info=running.failed.exception())
            return 1
        _log.info("draining")
    return 0


def _printable(host: str) -> str:
    """The host as it stands in an address a client can use: a listener on all addresses is reached on
    loopback."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared with, not listened on
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _certificate(settings: Settings, clock: SystemClock) -> CertificateSource:
    if settings.tls_cert_file is not None and settings.tls_key_file is not None:
        return OperatorCertificate(settings.tls_cert_file, settings.tls_key_file)
    return LocalCertificate(settings.tls_dir, PublicHosts.parse(settings.public_hosts), clock)


@asynccontextmanager
async def _started(child: ChildProcess) -> AsyncGenerator[None]:
    await child.start()
    try:
        yield
    finally:
        await child.close()


@asynccontextmanager
async def _owned(work: Coroutine[None, None, None], name: str) -> AsyncGenerator[asyncio.Task[None]]:
    """Run something beside the block; it ends with the block at the latest."""
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))
