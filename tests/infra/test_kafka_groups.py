"""Several members of a group on a real Kafka: they come, go and are killed while messages are published."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from infra.broker.delivery import DeliveryPolicy, Done
from infra.broker.kafka.broker import KafkaBroker, KafkaOptions
from infra.broker.port import (
    Broker,
    BrokerUnavailable,
    Delivery,
    OutgoingMessage,
    Subscription,
    Topic,
)
from infra.broker.window import Window
from infra.clock import SystemClock
from tests.contract.broker_adapters import kafka_options, receive
from tests.infra.house import NoAttempts
from tests.servers import kafka as kafka_servers
from tests.servers.kafka import KafkaServer

pytestmark = pytest.mark.system

WIDE = Topic("wide", partitions=6, keyed=False, retention_s=3600)
KEYED = Topic("keyed", partitions=6, keyed=True, retention_s=3600)
EVENTS = Topic("events", partitions=4, keyed=True, retention_s=3600)
GROUP = "workers"


class NoDeadLetters:
    async def put(self, delivery: Delivery, cause: str, attempts: int) -> None:
        raise AssertionError(cause)


@dataclass
class Ledger:
    """What was finished by whom, in order."""

    finished: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    grew: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, value: str, member: str) -> None:
        self.finished.append((value, member))
        self.grew.set()

    @property
    def values(self) -> list[str]:
        return [value for value, _ in self.finished]

    async def until(self, number: int, of: str | None = None) -> None:
        """Wait until so many were finished, by one member or all together."""
        async with asyncio.timeout(60):
            while len({value for value, member in self.finished if of in {None, member}}) < number:
                self.grew.clear()
                await self.grew.wait()


class Member:
    """A worker of its own broker, as it would be in a process of its own."""

    def __init__(self, name: str, options: KafkaOptions, topic: Topic, ledger: Ledger) -> None:
        self.name = name
        self.broker = KafkaBroker(options)
        self.topic = topic
        self.ledger = ledger
        self.slow = asyncio.Event()
        self.slow.set()
        self.running: set[str] = set()
        self.began = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.window: Window | None = None

    async def join(self) -> None:
        await self.broker.start([self.topic])
        self.window = Window(
            self.broker,
            self.topic,
            GROUP,
            policy=DeliveryPolicy(max_in_flight=32),
            clock=SystemClock(),
            attempts=NoAttempts(),
            dead_letters=NoDeadLetters(),
        )
        await self.window.__aenter__()
        self._task = asyncio.create_task(self._work(self.window))

    async def leave(self) -> None:
        assert self.window is not None
        assert self._task is not None
        self.window.stop()
        await self._task
        await self.window.__aexit__(None, None, None)
        await self.broker.close()

    async def until_running(self) -> None:
        async with asyncio.timeout(60):
            await self.began.wait()

    async def _work(self, window: Window) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(self._work_alone(window))

    async def _work_alone(self, window: Window) -> None:
        while taken := await window.next_batch(4, 1 << 30):
            values = [delivery.value.decode() for delivery in taken]
            assert self.running.isdisjoint(values), "begun twice at once"
            self.running.update(values)
            self.began.set()
            await asyncio.sleep(0.002)
            await self.slow.wait()
            self.running.difference_update(values)
            for value in values:
                self.ledger.add(value, self.name)
            await window.settle(taken, Done())


@pytest.fixture
def options(kafka: KafkaServer, tmp_path: Path) -> KafkaOptions:
    return kafka_options(kafka.plain, tmp_path)


@pytest.fixture
async def publisher(options: KafkaOptions) -> AsyncIterator[Broker]:
    broker = KafkaBroker(options)
    await broker.start([WIDE, KEYED])
    yield broker
    await broker.close()


async def until_consumed(broker: Broker, topic: Topic) -> None:
    async with asyncio.timeout(60):
        while (await broker.lag(topic, GROUP)).messages:
            pass


async def publish(broker: Broker, topic: Topic, values: Sequence[str]) -> None:
    await broker.publish(
        topic, [OutgoingMessage(value.split("-")[0].encode(), value.encode()) for value in values]
    )


def numbered(first: int, last: int) -> list[str]:
    return [f"k{number % 23}-{number}" for number in range(first, last)]


def assert_in_order(values: Sequence[str]) -> None:
    """The messages of each key in the order in which they were published."""
    last: dict[str, int] = {}
    for value in values:
        key, number = value.split("-")
        assert last.get(key, -1) < int(number)
        last[key] = int(number)


@pytest.mark.parametrize("topic", [WIDE, KEYED])
async def test_members_come_and_go_under_load_and_no_member_does_anything_twice(
    options: KafkaOptions, publisher: Broker, topic: Topic
) -> None:
    ledger = Ledger()
    one, two = (Member(name, options, topic, ledger) for name in ("one", "two"))

    async def load() -> None:
        for start in range(0, 1500, 10):
            await publish(publisher, topic, numbered(start, start + 10))
            await asyncio.sleep(0.01)

    loading = asyncio.create_task(load())
    await one.join()
    await ledger.until(100)
    await two.join()
    await ledger.until(100, of="two")
    await two.leave()
    await loading
    await ledger.until(1500)
    await until_consumed(publisher, topic)
    await one.leave()
    assert set(ledger.values) == set(numbered(0, 1500))
    # Nobody does anything twice. Two may do what one of them was at when its partition went: at each of two
    # changes, four batches of four at the most.
    counts = Counter(ledger.finished)
    assert set(counts.values()) == {1}
    assert len(ledger.finished) - 1500 <= 2 * 16
    if topic.keyed:
        for member in ("one", "two"):
            assert_in_order([value for value, by in ledger.finished if by == member])


async def test_a_partition_that_comes_back_does_not_start_what_still_runs(
    options: KafkaOptions, publisher: Broker
) -> None:
    ledger = Ledger()
    one, two = (Member(name, options, WIDE, ledger) for name in ("one", "two"))
    await one.join()
    one.slow.clear()
    await publish(publisher, WIDE, numbered(0, 12))
    await one.until_running()
    running = set(one.running)
    # Another member comes, and some partitions go there; it leaves, and they come back.
    two.slow.clear()
    await two.join()
    two.slow.set()
    await two.leave()
    one.slow.set()
    await ledger.until(12)
    await until_consumed(publisher, WIDE)
    await one.leave()
    assert set(ledger.values) == set(numbered(0, 12))
    # What ran here while the other had its partition may have been done there as well, but not here again.
    assert all(ledger.finished.count((value, "one")) == 1 for value in running)


async def test_nothing_is_lost_or_doubled_while_the_broker_is_killed(tmp_path: Path) -> None:
    with kafka_servers.running(tmp_path / "kafka") as server:
        options = kafka_options(server.plain, tmp_path)
        ledger, acknowledged = Ledger(), list[str]()
        publisher = KafkaBroker(options)
        await publisher.start([WIDE])
        member = Member("one", options, WIDE, ledger)
        await member.join()

        async def load() -> None:
            for value in numbered(0, 300):
                while value not in acknowledged:
                    try:
                        await publish(publisher, WIDE, [value])
                        acknowledged.append(value)
                    except BrokerUnavailable:
                        await asyncio.sleep(0.1)

        loading = asyncio.create_task(load())
        await ledger.until(50)
        server.kill()
        with pytest.raises(BrokerUnavailable):
            await publisher.ping()
        await asyncio.to_thread(server.restart)
        await loading
        await ledger.until(300)
        await member.leave()
        await publisher.close()
    assert set(ledger.values) == set(numbered(0, 300))


async def test_every_call_ends_while_the_broker_answers_nothing(tmp_path: Path) -> None:
    with kafka_servers.running(tmp_path / "kafka") as server:
        broker = KafkaBroker(kafka_options(server.plain, tmp_path))
        await broker.start([WIDE])
        subscription = await broker.subscribe(WIDE, GROUP)
        await publish(broker, WIDE, numbered(0, 4))
        deliveries = await receive(subscription, 4)
        server.pause()
        try:
            async with asyncio.timeout(40):
                ended = await asyncio.gather(
                    publish(broker, WIDE, ["late"]),
                    subscription.done(deliveries),
                    broker.lag(WIDE, GROUP),
                    broker.ping(),
                    return_exceptions=True,
                )
                await subscription.close()
                await broker.close()
        finally:
            server.go_on()
    assert [type(error) for error in ended] == [BrokerUnavailable] * 4


async def test_a_named_member_that_restarts_finds_its_partitions_and_disturbs_nobody(
    options: KafkaOptions, publisher: Broker
) -> None:
    changes: list[int] = []
    named = [replace(options, instance=name, session_s=10) for name in ("one", "two")]
    one, two = KafkaBroker(named[0]), KafkaBroker(named[1])
    await one.start([WIDE])
    await two.start([WIDE])
    staying = await one.subscribe(WIDE, GROUP, on_revoked=changes.extend)
    await two.subscribe(WIDE, GROUP)
    await publish(publisher, WIDE, numbered(0, 40))
    taken = await fetched_some(staying)
    before = len(changes)
    await two.close()
    again = KafkaBroker(named[1])
    await again.start([WIDE])
    rest = await receive(await again.subscribe(WIDE, GROUP), 40 - len(taken))
    assert {(delivery.partition, delivery.offset) for delivery in rest}.isdisjoint(
        (delivery.partition, delivery.offset) for delivery in taken
    )
    assert len(changes) == before
    await again.close()
    await one.close()


async def fetched_some(subscription: Subscription) -> list[Delivery]:
    """All that a member can get now, once it has only a part of the partitions."""
    found: list[Delivery] = []
    while not found:
        found = await subscription.fetch(max_messages=1000, max_bytes=1 << 30, wait_s=1)
    while more := await subscription.fetch(max_messages=1000, max_bytes=1 << 30, wait_s=0.5):
        found += more
    return found
