"""Putting the ingress together."""

from collections.abc import AsyncIterator

from aiohttp import web

from infra.crypto.opaque import OpaqueTokens, TokenKind
from infra.crypto.passwords import Passwords
from infra.crypto.tokens import AccessTokenPolicy, AccessTokens
from infra.keys.platform import PlatformKey
from infra.services import Services
from ingress.auth import Authenticator
from ingress.calls import PARTS, Parts
from ingress.exports import Exports
from ingress.observing import Observer
from ingress.openapi.pages import api_pages
from ingress.overload import SearchQueue
from ingress.readiness import HostReadiness, Readiness
from ingress.routes import ROUTES
from ingress.routing import add_routes
from ingress.uploads import Uploads
from ingress.waiting import Waiter


def init_app(services: Services, *, readiness: HostReadiness, host_decides: bool = True) -> web.Application:
    """The application over opened services. `readiness` tells of what only the host sees, and `host_decides`
    whether that is needed for being ready."""
    platform = PlatformKey(services.master, services.entropy)
    parts = Parts(
        services=services,
        waiter=Waiter(services.jobs, services.broker, services.clock),
        authenticator=Authenticator(
            services,
            AccessTokens(
                platform.access_token_key,
                services.clock,
                AccessTokenPolicy(lifetime_s=services.settings.access_token_s),
                services.entropy,
            ),
            OpaqueTokens(TokenKind.API_KEY, platform.api_key_key, services.entropy),
        ),
        refresh_tokens=OpaqueTokens(TokenKind.REFRESH, platform.refresh_token_key, services.entropy),
        set_password_tokens=OpaqueTokens(TokenKind.SET_PASSWORD, platform.set_password_key, services.entropy),
        passwords=Passwords(entropy=services.entropy),
        readiness=Readiness(services, readiness, host_decides=host_decides),
        uploads=Uploads(services.settings.max_photo_bytes),
        exports=Exports(),
        pages=api_pages(),
        search_queue=SearchQueue(services.broker, services.clock, services.metrics),
    )
    app = web.Application(
        middlewares=[Observer(services.clock, services.entropy, services.metrics, services.tracing).observe],
        # Bodies are read by `ingress.bodies` and `ingress.forms`, within limits that are tighter.
        client_max_size=2 * services.settings.max_photo_bytes,
    )
    app[PARTS] = parts
    app.cleanup_ctx.append(_run_parts)
    app.on_shutdown.append(_release_waiting)
    add_routes(app, ROUTES)
    return app


async def _run_parts(app: web.Application) -> AsyncIterator[None]:
    parts = app[PARTS]
    await parts.waiter.start()
    try:
        async with parts.search_queue.watched():
            yield
    finally:
        await parts.waiter.close()
        await parts.passwords.close()


async def _release_waiting(app: web.Application) -> None:
    """Whoever still waits when the server stops gets a 202 before the connection is cut."""
    parts = app[PARTS]
    parts.waiter.close_in(parts.services.settings.drain_s * 0.75)
