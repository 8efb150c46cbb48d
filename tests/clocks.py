"""Clocks of machines that nobody has set, and the one that a test has."""

from datetime import datetime, timedelta

from infra.clock import Clock, ManualClock, SystemClock
from infra.common_clock import CommonClock


class SkewedClock(SystemClock):
    """The machine's clock, so far ahead; behind, if that is negative."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


def manual(clock: Clock) -> ManualClock:
    """The test's own clock, whatever has been put before it."""
    own = clock.own if isinstance(clock, CommonClock) else clock
    assert isinstance(own, ManualClock)
    return own
