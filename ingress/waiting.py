"""Waiting for jobs to end: a hint from whoever ended one, and reading its record for certainty."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, TypeVar
from uuid import UUID

from infra.broker.port import Broker, BrokerError, Replies
from infra.clock import Clock
from infra.repositories.jobs import Jobs
from infra.telemetry import get_logger
from schemas.jobs import JobRecord, JobState

T = TypeVar("T")

_log = get_logger(__name__)

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_REOPEN_PAUSE_S: Final = 1.0


class Waiter:
    """Holds calls until their jobs have ended, or their time is up. Owns this ingress's inbox for hints.

    A hint wakes whoever waits for its job; hints may be lost or doubled, so the record decides, and is read
    again at least every second. A job that somebody else's inbox hears of is read at 50 ms, doubling to 1 s.
    Of more than `capacity` callers at once the later are not held: they get the record as it is.
    """

    def __init__(self, jobs: Jobs, broker: Broker, clock: Clock, *, capacity: int = 4096) -> None:
        self._jobs = jobs
        self._broker = broker
        self._clock = clock
        self._capacity = capacity
        self._waiting: dict[tuple[UUID, UUID], set[asyncio.Event]] = {}
        self._held: set[asyncio.Event] = set()
        self._inbox: Replies | None = None
        self._listener: asyncio.Task[None] | None = None
        self._close_at_s: float | None = None

    @property
    def address(self) -> str | None:
        """Where hints for this ingress go; None while there is no inbox."""
        return self._inbox.address if self._inbox else None

    async def start(self) -> None:
        """Open the inbox. Raises BrokerError."""
        self._inbox = await self._broker.open_replies()
        self._listener = asyncio.create_task(self._listen(), name="ingress replies")

    async def close(self) -> None:
        """Stop listening. Who still waits goes on by reading alone."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        if self._inbox is not None:
            await self._inbox.close()
            self._inbox = None

    def close_in(self, duration_s: float) -> None:
        """From now on hold nobody beyond so many seconds: the server is about to stop."""
        self._close_at_s = self._clock.monotonic_s() + duration_s
        for hint in self._held:
            hint.set()

    async def wait(self, company_id: UUID, job_id: UUID, timeout_s: float) -> JobRecord | None:
        """The job's record once it has ended, or as it is when the time is up; None if there is none."""

        def settled(job: JobRecord | None) -> bool:
            return job is None or job.state is not JobState.QUEUED

        def hinted(job: JobRecord | None) -> bool:
            return job is not None and job.reply_to is not None and job.reply_to == self.address

        with self._subscribed(company_id, job_id) as hint:
            return await self._until(
                lambda: self._jobs.get(company_id, job_id), settled, timeout_s, hint=hint, hinted=hinted
            )

    async def poll(
        self, read: Callable[[], Awaitable[T]], settled: Callable[[T], bool], timeout_s: float
    ) -> T:
        """Read until what is read is settled, or the time is up; answers what was read last."""
        return await self._until(read, settled, timeout_s, hint=asyncio.Event(), hinted=lambda _: False)

    async def _until(
        self,
        read: Callable[[], Awaitable[T]],
        settled: Callable[[T], bool],
        timeout_s: float,
        *,
        hint: asyncio.Event,
        hinted: Callable[[T], bool],
    ) -> T:
        if len(self._held) >= self._capacity:
            return await read()
        deadline_s = self._clock.monotonic_s() + timeout_s
        pause_s = _FIRST_PAUSE_S
        self._held.add(hint)
        try:
            while True:
                hint.clear()  # Before the read: a hint that comes while reading is not lost.
                value = await read()
                left_s = min(deadline_s, self._close_at_s or deadline_s) - self._clock.monotonic_s()
                if settled(value) or left_s <= 0:
                    return value
                if hinted(value):
                    pause_s = _LONGEST_PAUSE_S
                await self._pause(hint, min(pause_s, left_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self._held.discard(hint)

    @contextmanager
    def _subscribed(self, company_id: UUID, job_id: UUID) -> Generator[asyncio.Event]:
        hint = asyncio.Event()
        self._waiting.setdefault((company_id, job_id), set()).add(hint)
        try:
            yield hint
        finally:
            hints = self._waiting[company_id, job_id]
            hints.discard(hint)
            if not hints:
                del self._waiting[company_id, job_id]

    async def _pause(self, hint: asyncio.Event, duration_s: float) -> None:
        tasks = [asyncio.create_task(hint.wait()), asyncio.create_task(self._clock.sleep(duration_s))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _listen(self) -> None:
        while True:
            try:
                if self._inbox is None:
                    self._inbox = await self._broker.open_replies()
                company_id, job_id = await self._inbox.receive()
            except Exception:  # noqa: BLE001 - hints only save time: whatever stops them, calls are answered
                _log.warning("replies_interrupted", exc_info=True)
                await self._drop_inbox()
                await self._clock.sleep(_REOPEN_PAUSE_S)
                continue
            for hint in self._waiting.get((company_id, job_id), ()):
                hint.set()

    async def _drop_inbox(self) -> None:
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            try:
                await inbox.close()
            except BrokerError:
                _log.warning("replies_not_closed", exc_info=True)
