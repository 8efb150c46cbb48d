"""Telling any number of waiting tasks, on one loop, that there is something to look at."""

import asyncio


class Doorbell:
    """Listen first, then look, and wait only when nothing was there: a ring in between is not missed."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def listen(self) -> asyncio.Event:
        """An event that the next ring sets."""
        return self._next

    def ring(self) -> None:
        rung, self._next = self._next, asyncio.Event()
        rung.set()
