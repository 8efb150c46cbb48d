"""Refusing at once what would wait for too long: how far the workers are behind, and how fast they are.

A search is worth something for seconds. When those before it take longer than that, whoever asks learns so at
once, with when to come back, and nothing of it is stored: to write down that the stores are late would make
them later. An enrolment is worth waiting for and is always taken.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from infra.broker.port import Broker, BrokerError
from infra.broker.topics import GROUP, SEARCH
from infra.clock import Clock
from infra.metric_table import EXPECTED_WAIT
from infra.metrics import Metrics
from infra.owning import owned
from infra.telemetry import get_logger
from schemas.problems import ProblemError

_ASK_EVERY_S: Final = 1.0
_ASK_TIMEOUT_S: Final = 3.0
# Workers take batches, so how fast they are shows over some seconds only. Of a longer and a shorter stretch
# the faster counts: a burst must not be measured by the quiet before it.
_STRETCHES_S: Final = (10.0, 3.0)
_LONGEST_RETRY_S: Final = 60

_log = get_logger(__name__)


@dataclass(frozen=True)
class _Seen:
    at_s: float
    consumed: int
    waiting: int


class QueuePace:
    """Reckons from what is seen of a queue, now and then, how long the last one in it will wait.

    It errs on the side of little: where nothing is known, where the queue has been empty since it was last
    looked at, and until two looks in a row agree, there is no wait. What is done, but lies behind a message
    that is not, counts as waiting.
    """

    def __init__(self) -> None:
        self._seen: deque[_Seen] = deque()
        self._moved_s = 0.0
        self._estimates: deque[float] = deque(maxlen=2)

    @property
    def expected_wait_s(self) -> float:
        """The lower of the last two estimates."""
        return min(self._estimates) if len(self._estimates) == 2 else 0.0

    def forget(self) -> None:
        """The queue could not be looked at: nothing is known."""
        self._seen.clear()
        self._estimates.clear()

    def saw(self, at_s: float, *, consumed: int, waiting: int) -> None:
        """So many had been consumed of the queue, ever, and so many were in it."""
        last = self._seen[-1] if self._seen else None
        if waiting == 0 or (last is not None and consumed >= last.consumed + last.waiting):
            # All who were in it before are through: whoever comes waits less than the time between two looks.
            self.forget()
            last = None
        if last is None or consumed > last.consumed:
            self._moved_s = at_s
        now = _Seen(at_s, consumed, waiting)
        self._seen.append(now)
        while self._seen[0].at_s < at_s - max(_STRETCHES_S):
            self._seen.popleft()
        if waiting:
            self._estimates.append(self._estimate(now))

    def _estimate(self, now: _Seen) -> float:
        pace = max(self._pace(now, stretch_s) for stretch_s in _STRETCHES_S)
        stalled_s = now.at_s - self._moved_s
        return max(now.waiting / pace, stalled_s) if pace > 0 else stalled_s

    def _pace(self, now: _Seen, stretch_s: float) -> float:
        """Messages a second over the last so many seconds."""
        first = next(seen for seen in self._seen if seen.at_s >= now.at_s - stretch_s)
        passed_s = now.at_s - first.at_s
        return (now.consumed - first.consumed) / passed_s if passed_s > 0 else 0.0


class SearchQueue:
    """Knows how long a search that is accepted now is likely to wait."""

    def __init__(self, broker: Broker, clock: Clock, metrics: Metrics) -> None:
        self._broker = broker
        self._clock = clock
        self._metrics = metrics
        self._pace = QueuePace()

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Look at the queue every second until the block ends."""
        async with owned(self._watch(), "search queue"):
            with self._metrics.reading(EXPECTED_WAIT, lambda: self._pace.expected_wait_s):
                yield

    def admit(self, limit_s: float) -> None:
        """Raises `ProblemError("overloaded")` if a search would wait for longer than that."""
        expected_s = self._pace.expected_wait_s
        if expected_s > limit_s:
            # By then, if nobody comes, so many are through that one more fits.
            retry_s = min(math.ceil(expected_s - limit_s), _LONGEST_RETRY_S)
            raise ProblemError("overloaded").after(retry_s)

    async def _watch(self) -> None:
        while True:
            await self._look()
            await self._clock.sleep(_ASK_EVERY_S)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(_ASK_TIMEOUT_S):
                lag = await self._broker.lag(SEARCH, GROUP)
        except (BrokerError, TimeoutError):
            self._pace.forget()
            _log.warning("search_queue_unknown", exc_info=True)
            return
        self._pace.saw(self._clock.monotonic_s(), consumed=lag.consumed, waiting=lag.messages)
