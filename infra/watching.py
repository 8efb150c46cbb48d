"""What an operator sees of a running process: its metrics, on a port of their own."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from typing import Final

from aiohttp import web

from infra.broker import topics
from infra.broker.delivery import STORE_DOWN
from infra.broker.port import Broker, Topic
from infra.clock import Clock
from infra.metric_table import LAG_MEASURED, LAG_MESSAGES, LAG_SECONDS
from infra.metrics import CONTENT_TYPE, Metrics
from infra.owning import owned
from infra.services import Services
from infra.telemetry import get_logger

_LAG_EVERY_S: Final = 5.0
_LAG_TIMEOUT_S: Final = 10.0
_STOP_S: Final = 2.0

_log = get_logger(__name__)


@asynccontextmanager
async def serving_metrics(services: Services) -> AsyncGenerator[int | None]:
    """Serve `GET /metrics` on `FACEID_METRICS_LISTEN` for as long as the block lasts; the port, None where
    that is off. Plain HTTP, for a scraper beside it. Raises OSError if the address can't be had.
    """
    settings = services.settings
    if settings.metrics_listen is None:
        yield None
        return
    async with AsyncExitStack() as stack:
        lags = LagWatch(services.broker, services.metrics, services.clock)
        await stack.enter_async_context(lags.at_work())
        host, _, port = settings.metrics_listen.rpartition(":")
        yield await stack.enter_async_context(listening(services.metrics, host.strip("[]"), int(port)))


@asynccontextmanager
async def listening(metrics: Metrics, host: str, port: int) -> AsyncGenerator[int]:
    async def tell(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application(client_max_size=0)
    app.router.add_get("/metrics", tell)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S)
    try:
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        _log.info("metrics_listen", host=host, port=site.port)
        yield site.port
    finally:
        await runner.cleanup()


class LagWatch:
    """Asks every few seconds how far the workers are behind. Whoever looks sees the last answer and its age,
    and waits for nobody."""

    def __init__(
        self, broker: Broker, metrics: Metrics, clock: Clock, watched: Sequence[Topic] = topics.WORKED
    ) -> None:
        self._broker = broker
        self._metrics = metrics
        self._clock = clock
        self._watched = watched
        self._answered_s: dict[str, float] = {}

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None]:
        """Ask at once, and again and again until the block ends."""
        async with owned(self._run(), "lag"):
            yield

    async def _run(self) -> None:
        with ExitStack() as stack:
            while True:
                for topic in self._watched:
                    await self._ask(topic, stack)
                await self._clock.sleep(_LAG_EVERY_S)

    async def _ask(self, topic: Topic, stack: ExitStack) -> None:
        try:
            async with asyncio.timeout(_LAG_TIMEOUT_S):
                lag = await self._broker.lag(topic, topics.GROUP)
        except (*STORE_DOWN, TimeoutError):
            return  # The last answer stands, and tells its age.
        now = self._clock.now()
        age_s = (now - lag.oldest_appended_at).total_seconds() if lag.oldest_appended_at else 0.0
        self._metrics.set(LAG_MESSAGES, lag.messages, topic.name)
        self._metrics.set(LAG_SECONDS, max(0.0, age_s), topic.name)
        first = topic.name not in self._answered_s
        self._answered_s[topic.name] = self._clock.monotonic_s()
        if first:
            stack.enter_context(
                self._metrics.reading(LAG_MEASURED, partial(self._age_s, topic.name), topic.name)
            )

    def _age_s(self, topic: str) -> float:
        return self._clock.monotonic_s() - self._answered_s[topic]
