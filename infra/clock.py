"""Time and randomness as things that are handed in, so that a test decides both."""

import asyncio
import os
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from time import monotonic

from schemas.ids import Entropy

__all__ = ["Clock", "Entropy", "ManualClock", "SystemClock", "system_entropy"]

system_entropy: Entropy = os.urandom
"""The operating system's generator, fit for keys and nonces."""


class Clock(ABC):
    """Tells the time, and waits for it to pass."""

    @abstractmethod
    def now(self) -> datetime:
        """The wall clock's time, aware, in UTC: for what is stored or shown. It may jump."""

    @abstractmethod
    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start, which never go back: for durations and deadlines."""

    @abstractmethod
    async def sleep(self, duration_s: float) -> None:
        """Wait until that many seconds have passed on this clock."""


class SystemClock(Clock):
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return monotonic()

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


class ManualClock(Clock):
    """A clock that stands still until it is advanced: the twin that tests use.

    A sleeper wakes when `advance` passes its time. A test waits with `until_sleeping` for the code under
    test to reach its sleep, then advances, and so never sleeps itself.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._monotonic_s = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._asleep = asyncio.Condition()

    def now(self) -> datetime:
        return self._now

    def monotonic_s(self) -> float:
        return self._monotonic_s

    async def sleep(self, duration_s: float) -> None:
        if duration_s <= 0:
            await asyncio.sleep(0)
            return
        sleeper = (self._monotonic_s + duration_s, asyncio.get_running_loop().create_future())
        self._sleepers.append(sleeper)
        try:
            async with self._asleep:
                self._asleep.notify_all()
            await sleeper[1]
        finally:
            self._sleepers.remove(sleeper)

    def advance(self, duration_s: float) -> None:
        """Let that many seconds pass at once, and wake whoever was waiting for them."""
        self._now += timedelta(seconds=duration_s)
        self._monotonic_s += duration_s
        for due_s, wake in self._sleepers:
            if due_s <= self._monotonic_s and not wake.done():
                wake.set_result(None)

    async def until_sleeping(self, sleepers: int = 1) -> None:
        """Wait until at least that many tasks sleep on this clock and are not due yet."""
        async with self._asleep:
            await self._asleep.wait_for(
                lambda: sum(due_s > self._monotonic_s for due_s, _ in self._sleepers) >= sleepers
            )
