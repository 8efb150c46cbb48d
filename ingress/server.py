"""The HTTPS server: the application behind a listener, its limits against slow clients, and its stop."""

import ssl
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from infra.services import Services
from ingress.app import init_app
from ingress.connections import Runner
from ingress.readiness import HostReadiness
from schemas.ids import new_id

# How long a connection may be idle, and how long a first or next request's line and headers may take to come.
# Bodies have deadlines of their own (`ingress.bodies`).
_KEEPALIVE_S: Final = 75
# How long a client that was refused may go on sending, so that it comes to read why.
_LINGER_S: Final = 5
_MAX_LINE_BYTES: Final = 8190
_MAX_HEADER_BYTES: Final = 8190
_MAX_HEADERS: Final = 64


@dataclass(frozen=True)
class RunningIngress:
    """A listening ingress."""

    port: int
    _runner: web.AppRunner

    async def stop(self) -> None:
        """Accept nothing more, give requests in flight `FACEID_DRAIN_S` to finish, then cut them off."""
        await self._runner.cleanup()


async def serve_ingress(
    services: Services,
    ssl_context: ssl.SSLContext,
    readiness: HostReadiness,
    *,
    host_decides: bool = True,
) -> RunningIngress:
    """Listen on `FACEID_LISTEN`. Raises OSError if the address can't be had."""
    settings = services.settings
    runner = Runner(
        init_app(services, readiness=readiness, host_decides=host_decides),
        lambda: str(new_id(services.clock.now(), services.entropy)),
        shutdown_timeout=settings.drain_s,
        access_log=None,  # Every request is logged by `ingress.observing`.
        keepalive_timeout=_KEEPALIVE_S,
        lingering_time=_LINGER_S,
        max_line_size=_MAX_LINE_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        max_headers=_MAX_HEADERS,
        auto_decompress=False,
    )
    try:
        await runner.setup()
        site = web.TCPSite(runner, settings.listen_host, settings.listen_port, ssl_context=ssl_context)
        await site.start()
    except BaseException:
        await runner.cleanup()
        raise
    return RunningIngress(site.port, runner)
