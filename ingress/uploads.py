"""Room for photos on their way in: what their requests may take of the memory, all together."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

PLACES: Final = 64


class Uploads:
    """So many places, each for a photo of the largest size. Who comes first is let in first, whatever they
    need: large requests are not kept waiting by small ones."""

    def __init__(self, place_bytes: int, places: int = PLACES) -> None:
        self._place_bytes = place_bytes
        self._places = places
        self._free = asyncio.Semaphore(places)
        # Two who each hold half of what they need would wait for each other.
        self._entering = asyncio.Lock()

    @asynccontextmanager
    async def room(self, needed_bytes: int) -> AsyncGenerator[None]:
        """Hold room for so much, waiting for it; who needs more than there is has all of it."""
        needed = min(max(1, math.ceil(needed_bytes / self._place_bytes)), self._places)
        held = 0
        try:
            async with self._entering:
                while held < needed:
                    await self._free.acquire()
                    held += 1
            yield
        finally:
            for _ in range(held):
                self._free.release()
