"""A broker and documents over one file, for tests of what is built on them; time is the test's."""

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.broker.attempts import DocumentAttempts
from infra.broker.dead_letters import BrokerDeadLetters, DeadLetter
from infra.broker.delivery import Backoff, DeliveryPolicy
from infra.broker.doorbell import Doorbell
from infra.broker.port import Delivery, OutgoingMessage, Topic
from infra.broker.sqlite import SqliteBroker
from infra.broker.window import Window
from infra.clock import ManualClock
from infra.documents.port import Collection
from infra.documents.sqlite import SqliteDocuments
from infra.repositories.collections import ATTEMPTS
from infra.sqlite.file import SqliteFile

LOOSE = Topic("loose", partitions=1, keyed=False, retention_s=3600)
WIDE = Topic("wide", partitions=4, keyed=False, retention_s=3600)
KEYED = Topic("keyed", partitions=2, keyed=True, retention_s=3600)
LETTERS = Topic("letters", partitions=1, keyed=False, retention_s=3600)
GROUP = "workers"
PLENTY = 1 << 30

# Waits of 1, 2, 4, 8, 8, … seconds.
POLICY = DeliveryPolicy(backoff=Backoff(first_s=1, factor=2, max_s=8, chance=lambda: 0.0))


class NoAttempts:
    """Redelivered messages are always begun with once more."""

    async def count(self, key: str) -> int:
        return 0

    async def record(self, key: str) -> int:
        return 1


@dataclass
class House:
    """A broker and documents over one file, and whatever the tests make of them."""

    path: Path
    clock: ManualClock
    file: SqliteFile
    broker: SqliteBroker
    documents: SqliteDocuments
    attempts: DocumentAttempts
    letters: BrokerDeadLetters

    async def publish(self, topic: Topic, *values: str, key: str | None = None) -> None:
        """Messages whose key is `key`, or else the first letter of their value."""
        for value in values:
            message = OutgoingMessage((key or value[0]).encode(), value.encode())
            await self.broker.publish(topic, [message], synced=False)

    @asynccontextmanager
    async def window(
        self, topic: Topic, *, policy: DeliveryPolicy = POLICY, doorbell: Doorbell | None = None
    ) -> AsyncGenerator[Window]:
        async with self.make_window(topic, policy=policy, doorbell=doorbell) as window:
            yield window

    def make_window(
        self, topic: Topic, *, policy: DeliveryPolicy = POLICY, doorbell: Doorbell | None = None
    ) -> Window:
        return Window(
            self.broker,
            topic,
            GROUP,
            policy=policy,
            clock=self.clock,
            attempts=self.attempts,
            dead_letters=self.letters,
            doorbell=doorbell,
        )

    async def dead(self) -> list[DeadLetter]:
        """The dead letters so far."""
        subscription = await self.broker.subscribe(LETTERS, "test")
        deliveries = await subscription.fetch(max_messages=100, max_bytes=PLENTY, wait_s=0)
        await subscription.close()
        return [DeadLetter.unpack(delivery.value) for delivery in deliveries]

    async def lag(self, topic: Topic) -> int:
        return (await self.broker.lag(topic, GROUP)).messages

    async def tick(self, seconds: float, sleepers: int = 1) -> None:
        """Let time pass once so many wait for it."""
        await self.clock.until_sleeping(sleepers)
        self.clock.advance(seconds)

    @asynccontextmanager
    async def file_locked(self) -> AsyncGenerator[None]:
        """The stores are down: somebody else holds the file's write lock."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")


@asynccontextmanager
async def open_house(
    path: Path, clock: ManualClock, broker_type: type[SqliteBroker] = SqliteBroker
) -> AsyncGenerator[House]:
    file = SqliteFile(path, busy_timeout_s=0.01)
    broker, documents = broker_type(file, clock), SqliteDocuments(file)
    collections: list[Collection[Any]] = [ATTEMPTS]
    await documents.start(collections)
    await broker.start([LOOSE, WIDE, KEYED, LETTERS])
    attempts, letters = DocumentAttempts(documents, clock), BrokerDeadLetters(broker, LETTERS, clock)
    try:
        yield House(path, clock, file, broker, documents, attempts, letters)
    finally:
        await broker.close()
        await documents.close()


def values(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.value.decode() for delivery in deliveries]


async def batch(window: Window, max_messages: int = 100, max_bytes: int = PLENTY) -> list[Delivery]:
    return await window.next_batch(max_messages, max_bytes)


async def single(window: Window) -> Delivery:
    (delivery,) = await batch(window, 1)
    return delivery


async def collect(window: Window, number: int) -> list[Delivery]:
    """So many deliveries, in as many batches as they come in."""
    found: list[Delivery] = []
    while len(found) < number:
        found += await batch(window, number - len(found))
    return found
