"""The broker adapters that the contract runs on, one entry each, and processes to kill.

`python -m tests.contract.broker_adapters ADAPTER FOLDER publish FIRST` publishes numbers from FIRST on until
it is killed, and prints each once the broker has it. With `consume COUNT` it consumes that many, prints the
partition and offset of each once it is done with it, then takes more and is not done with them. ADAPTER is
`sqlite`, or `kafka=` and an address.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final
from zlib import crc32

import pytest

from infra.broker.kafka.address import KafkaAddress
from infra.broker.kafka.broker import KafkaBroker, KafkaOptions
from infra.broker.port import Broker, Delivery, OutgoingMessage, Subscription, Topic
from infra.broker.sqlite import SqliteBroker
from infra.clock import Clock, SystemClock
from infra.sqlite.file import SqliteFile
from infra.telemetry import configure_logging

EVENTS: Final = Topic("events", partitions=4, keyed=True, retention_s=3600)
JOBS: Final = Topic("jobs", partitions=1, keyed=False, retention_s=60)

PATIENCE_S: Final = 60.0
_PLENTY: Final = 1 << 30


@dataclass(frozen=True)
class Adapter:
    """How to open one, and what it may do otherwise than the others."""

    kind: str
    server: str = ""

    @property
    def is_ours(self) -> bool:
        """Messages are stamped by our clock, dropped by our `clean`, and a group has one member."""
        return self.kind == "sqlite"

    @property
    def quiet_s(self) -> float:
        """How long to listen before it can be said that no message comes."""
        return 0 if self.is_ours else 0.4

    def __str__(self) -> str:
        return f"{self.kind}={self.server}" if self.server else self.kind

    def broker(self, folder: Path, clock: Clock) -> Broker:
        if self.kind == "sqlite":
            return SqliteBroker(SqliteFile(folder / "broker.sqlite"), clock)
        return KafkaBroker(kafka_options(self.server, folder))


ADAPTERS: Final = ("sqlite", pytest.param("kafka", marks=pytest.mark.system))


def kafka_options(server: str, folder: Path) -> KafkaOptions:
    """The topics that belong to a folder; short sessions, so that a killed member is soon followed."""
    prefix = f"t{crc32(str(folder).encode()):08x}."
    return KafkaOptions(KafkaAddress((server,)), prefix, 1, 4 * 2**20, session_s=3)


@asynccontextmanager
async def open_broker(
    adapter: Adapter, folder: Path, clock: Clock, topics: Sequence[Topic] = (EVENTS, JOBS)
) -> AsyncGenerator[Broker]:
    """The broker that lies in a folder, started with these topics."""
    broker = adapter.broker(folder, clock)
    await broker.start(topics)
    try:
        yield broker
    finally:
        await broker.close()


async def receive(
    subscription: Subscription, number: int, *, max_messages: int = 100_000, max_bytes: int = _PLENTY
) -> list[Delivery]:
    """So many messages, in as many fetches as they take."""
    received: list[Delivery] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(received) < number:
            most = min(max_messages, number - len(received))
            received += await subscription.fetch(max_messages=most, max_bytes=max_bytes, wait_s=PATIENCE_S)
    return received


async def publish_forever(adapter: Adapter, folder: Path, first: int) -> None:
    async with open_broker(adapter, folder, SystemClock()) as broker:
        for number in count(first):
            # A few kilobytes each, so that the log is checkpointed now and then.
            value = number.to_bytes(8, "big") * (number % 7 * 100 + 1)
            message = OutgoingMessage(b"key%d" % (number % 5), value)
            await broker.publish(EVENTS, [message], synced=number % 3 == 0)
            print(number, flush=True)


async def consume_some(adapter: Adapter, folder: Path, number: int) -> None:
    async with open_broker(adapter, folder, SystemClock()) as broker:
        subscription = await broker.subscribe(EVENTS, "g")
        for _ in range(number):
            deliveries = await receive(subscription, 1)
            await subscription.done(deliveries)
            print(f"done {deliveries[0].partition} {deliveries[0].offset}", flush=True)
        for delivery in await receive(subscription, 5):
            print(f"begun {delivery.partition} {delivery.offset}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    configure_logging()  # to where it does not mix with what is told
    work = {"publish": publish_forever, "consume": consume_some}[sys.argv[3]]
    asyncio.run(work(Adapter(*sys.argv[1].split("=")), Path(sys.argv[2]), int(sys.argv[4])))
