"""Which deliveries run one at a time, and which alone."""

import asyncio

from infra.broker.doorbell import Doorbell
from infra.broker.lanes import Entry, Lanes


class Turns:
    """A turn in a partition excludes who waits for the same; being alone excludes everything in flight.

    Both are held until `release`. `settled` rings when a delivery comes back from its handler.
    """

    def __init__(self, lanes: Lanes, settled: Doorbell) -> None:
        self._lanes = lanes
        self._settled = settled
        self._partitions: dict[int, asyncio.Lock] = {}
        self._held: dict[Entry, asyncio.Lock] = {}
        self._being_alone = asyncio.Lock()
        self.alone: Entry | None = None

    async def in_partition(self, entry: Entry) -> None:
        turn = self._partitions.setdefault(entry.delivery.partition, asyncio.Lock())
        await turn.acquire()
        self._held[entry] = turn

    async def be_alone(self, entry: Entry) -> None:
        """From here on nothing else is handed out; returns when nothing is out."""
        await self._being_alone.acquire()
        self.alone = entry
        await self.until_none_out()

    async def until_none_out(self) -> None:
        while True:
            settled = self._settled.listen()
            if not self._lanes.out:
                return
            await settled.wait()

    def release(self, entry: Entry) -> None:
        turn = self._held.pop(entry, None)
        if turn is not None:
            turn.release()
        if self.alone is entry:
            self.alone = None
            self._being_alone.release()
