"""One time for many machines, whose clocks may differ by minutes.

The broker stamps every message when it appends it. Whoever publishes knows that this happened between sending
and acknowledgement, and so how far its own clock can be from the broker's at most, either way. Deadlines that
one machine sets and another keeps, the ages of claims, tokens: all are told by the broker's time.
"""

from datetime import datetime, timedelta
from typing import Final

from infra.clock import Clock
from infra.telemetry import get_logger

LARGEST_CORRECTION: Final = timedelta(minutes=5)
"""What sweeps allow for. One clock that is further off is wrong in a way that must not spread to others."""

_STAMP_GRAIN: Final = timedelta(milliseconds=1)
_WORTH_TELLING: Final = timedelta(seconds=1)

_log = get_logger(__name__)


class CommonClock(Clock):
    """This machine's clock, moved as far as the broker's stamps prove it wrong, and no further: clocks that
    agree are left alone, however long an acknowledgement took. Durations are the machine's own."""

    def __init__(self, own: Clock) -> None:
        self._own = own
        self._correction = timedelta()
        self._told = timedelta()

    @property
    def own(self) -> Clock:
        """The machine's clock as it stands."""
        return self._own

    def now(self) -> datetime:
        return self._own.now() + self._correction

    def monotonic_s(self) -> float:
        return self._own.monotonic_s()

    async def sleep(self, duration_s: float) -> None:
        await self._own.sleep(duration_s)

    def stamped(self, at: datetime, *, sent: datetime, acknowledged: datetime) -> None:
        """The broker stamped something `at` its time, between two moments of `own`."""
        least, most = at - acknowledged, at + _STAMP_GRAIN - sent
        needed = min(max(self._correction, least), most)
        self._tell(needed)
        if abs(needed) <= LARGEST_CORRECTION:
            self._correction = needed

    def _tell(self, needed: timedelta) -> None:
        if abs(needed - self._told) < _WORTH_TELLING:
            return
        self._told = needed
        told = {"broker_ahead_s": round(needed.total_seconds(), 3)}
        if abs(needed) > LARGEST_CORRECTION:
            _log.error("clocks_too_far_apart", **told)
        else:
            _log.warning("clock_corrected", **told)
