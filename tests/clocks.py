"""Clocks of machines that nobody has set."""

from datetime import datetime, timedelta

from infra.clock import SystemClock


class SkewedClock(SystemClock):
    """The machine's clock, so far ahead; behind, if that is negative."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead
