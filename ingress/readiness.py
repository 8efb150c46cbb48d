"""Whether requests can be served: what the stores say, and what the host knows of the parts that only it
sees."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from infra.broker.port import BrokerError
from infra.documents.port import DocumentsError
from infra.objects.port import ObjectsError
from infra.services import Services

READY: Final = "ready"

HostReadiness = Callable[[], Awaitable[Mapping[str, str]]]
"""The host's part: the name of each thing that the ingress can't see (model, index), and `ready` or what it
is instead, in a word or two of our own."""

_STORE_TIMEOUT_S: Final = 3.0
# The host asks the model, which may have work before it.
_HOST_TIMEOUT_S: Final = 15.0
_KEPT_S: Final = 1.0


class Readiness:
    """Asks all parts at once. An answer is kept for a second: asking writes to each store, and anybody may
    ask."""

    def __init__(self, services: Services, host: HostReadiness) -> None:
        self._services = services
        self._host = host
        self._asking = asyncio.Lock()
        self._parts: dict[str, str] = {}
        self._asked_s: float | None = None

    async def parts(self) -> Mapping[str, str]:
        """The state of each part by name: `ready`, or what it is instead."""
        async with self._asking:
            now_s = self._services.clock.monotonic_s()
            if self._asked_s is None or now_s - self._asked_s >= _KEPT_S:
                self._parts = await self._ask()
                self._asked_s = now_s
            return self._parts

    async def _ask(self) -> dict[str, str]:
        documents, broker, objects, host = await asyncio.gather(
            _state(self._services.documents.ping()),
            _state(self._services.broker.ping()),
            _state(self._services.objects.ping()),
            self._of_host(),
        )
        return {"documents": documents, "broker": broker, "objects": objects, **host}

    async def _of_host(self) -> Mapping[str, str]:
        try:
            async with asyncio.timeout(_HOST_TIMEOUT_S):
                return await self._host()
        except TimeoutError:
            return {"host": "unavailable"}


async def _state(ping: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(_STORE_TIMEOUT_S):
            await ping
    except (DocumentsError, BrokerError, ObjectsError, TimeoutError):
        return "unavailable"
    return READY
