"""Whether requests can be served: what the stores say, and what the host knows of the parts that only it
sees."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from infra.broker.port import BrokerError
from infra.documents.port import DocumentsError
from infra.objects.port import ObjectsError
from infra.seen import Seen
from infra.services import Services
from schemas.recognition import Engine

READY: Final = "ready"

HostReadiness = Callable[[], Awaitable[Seen]]
"""The host's part: what the ingress can't see."""

_STORE_TIMEOUT_S: Final = 3.0
# The host asks the model, which may have work before it.
_HOST_TIMEOUT_S: Final = 15.0
_KEPT_S: Final = 1.0


@dataclass(frozen=True)
class State:
    """Whether requests can be served, and of each part `ready` or what it is instead."""

    ready: bool
    parts: Mapping[str, str]
    engines: tuple[Engine, ...] = ()


class Readiness:
    """Asks all parts at once. An answer is kept for a second: asking writes to each store, and anybody may
    ask."""

    def __init__(self, services: Services, host: HostReadiness, *, host_decides: bool) -> None:
        self._services = services
        self._host = host
        self._host_decides = host_decides
        self._asking = asyncio.Lock()
        self._state = State(ready=False, parts={})
        self._asked_s: float | None = None

    async def state(self) -> State:
        """Whether all that is needed is ready, and the state of each part by name."""
        async with self._asking:
            now_s = self._services.clock.monotonic_s()
            if self._asked_s is None or now_s - self._asked_s >= _KEPT_S:
                self._state = await self._ask()
                self._asked_s = now_s
            return self._state

    async def _ask(self) -> State:
        documents, broker, objects, host = await asyncio.gather(
            _state(self._services.documents.ping()),
            _state(self._services.broker.ping()),
            _state(self._services.objects.ping()),
            self._of_host(),
        )
        stores = {"documents": documents, "broker": broker, "objects": objects}
        parts = {**stores, **host.parts}
        needed = parts if self._host_decides else stores
        ready = all(state == READY for state in needed.values())
        return State(ready=ready, parts=parts, engines=host.engines)

    async def _of_host(self) -> Seen:
        try:
            async with asyncio.timeout(_HOST_TIMEOUT_S):
                return await self._host()
        except TimeoutError:
            return Seen({"host": "unavailable"})


async def _state(ping: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(_STORE_TIMEOUT_S):
            await ping
    except (DocumentsError, BrokerError, ObjectsError, TimeoutError):
        return "unavailable"
    return READY
