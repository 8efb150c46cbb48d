"""The broker adapters that the contract runs on, one entry each, and processes to kill.

`python -m tests.contract.broker_adapters ADAPTER FOLDER publish FIRST` publishes numbers from FIRST on until
it is killed, and prints each once the broker has it. With `consume COUNT` it consumes that many, prints the
partition and offset of each once it is done with it, then takes more and is not done with them.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final

from infra.broker.port import Broker, OutgoingMessage, Topic
from infra.broker.sqlite import SqliteBroker
from infra.clock import Clock, SystemClock
from infra.sqlite.file import SqliteFile

ADAPTERS: Final[dict[str, Callable[[Path, Clock], Broker]]] = {
    "sqlite": lambda folder, clock: SqliteBroker(SqliteFile(folder / "broker.sqlite"), clock),
}

EVENTS: Final = Topic("events", partitions=4, keyed=True, retention_s=3600)
JOBS: Final = Topic("jobs", partitions=1, keyed=False, retention_s=60)


@asynccontextmanager
async def open_broker(
    adapter: str, folder: Path, clock: Clock, topics: Sequence[Topic] = (EVENTS, JOBS)
) -> AsyncGenerator[Broker]:
    """The broker that lies in a folder, started with these topics."""
    broker = ADAPTERS[adapter](folder, clock)
    await broker.start(topics)
    try:
        yield broker
    finally:
        await broker.close()


async def publish_forever(adapter: str, folder: Path, first: int) -> None:
    async with open_broker(adapter, folder, SystemClock()) as broker:
        for number in count(first):
            # A few kilobytes each, so that the log is checkpointed now and then.
            value = number.to_bytes(8, "big") * (number % 7 * 100 + 1)
            message = OutgoingMessage(b"key%d" % (number % 5), value)
            await broker.publish(EVENTS, [message], synced=number % 3 == 0)
            print(number, flush=True)


async def consume_some(adapter: str, folder: Path, number: int) -> None:
    async with open_broker(adapter, folder, SystemClock()) as broker:
        subscription = await broker.subscribe(EVENTS, "g")
        for _ in range(number):
            deliveries = await subscription.fetch(max_messages=1, max_bytes=1, wait_s=0)
            await subscription.done(deliveries)
            print(f"done {deliveries[0].partition} {deliveries[0].offset}", flush=True)
        for delivery in await subscription.fetch(max_messages=5, max_bytes=1 << 30, wait_s=0):
            print(f"begun {delivery.partition} {delivery.offset}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    work = {"publish": publish_forever, "consume": consume_some}[sys.argv[3]]
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[4])))
