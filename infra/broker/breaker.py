"""Keeping quiet while a store is down."""

from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TypeVar

from infra.broker.delivery import STORE_DOWN, Backoff
from infra.broker.tasks import Tasks
from infra.clock import Clock

T = TypeVar("T")


class BreakerState(IntEnum):
    """The further from 0, the longer until work goes on."""

    RUNNING = 0
    PROBING = 1
    PAUSED = 2


class Breaker:
    """After a failure everything pauses, longer from one to the next; then a probe decides how it goes on."""

    def __init__(self, backoff: Backoff, clock: Clock, tasks: Tasks, on_probe: Callable[[], None]) -> None:
        self._backoff = backoff
        self._clock = clock
        self._tasks = tasks
        self._on_probe = on_probe
        self._state = BreakerState.RUNNING
        self._failures = 0
        self._probe_out = False

    @property
    def state(self) -> BreakerState:
        return self._state

    @property
    def may_begin(self) -> bool:
        return self._state is BreakerState.RUNNING or (self.is_probing and not self._probe_out)

    @property
    def is_probing(self) -> bool:
        return self._state is BreakerState.PROBING

    def began(self) -> None:
        """Something was handed out."""
        self._probe_out = self.is_probing

    def failed(self) -> None:
        """A store did not answer: pause, unless that is on already."""
        if self._state is BreakerState.PAUSED:
            return
        self._state = BreakerState.PAUSED
        self._probe_out = False
        self._failures += 1
        self._tasks.spawn(self._pause(self._backoff.wait_s(self._failures)))

    def succeeded(self) -> None:
        """Something ended, and not for want of a store. During a pause that says nothing."""
        if self.is_probing:
            self._state = BreakerState.RUNNING
            self._failures = 0
            self._probe_out = False

    async def insist(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do what must be done: again and again while a store is down."""
        failures = 0
        while True:
            try:
                return await operation()
            except STORE_DOWN:
                failures += 1
                self.failed()
                await self._clock.sleep(self._backoff.wait_s(failures))

    async def _pause(self, wait_s: float) -> None:
        await self._clock.sleep(wait_s)
        self._state = BreakerState.PROBING
        self._on_probe()
