"""What every broker adapter keeps."""

import asyncio
import os
import random
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import ANY
from uuid import uuid4

import pytest

from infra.broker.dead_letters import BrokerDeadLetters, DeadLetter
from infra.broker.delivery import UNREADABLE, Backoff, DeliveryPolicy, outcome_of
from infra.broker.port import Broker, BrokerError, Delivery, Lag, OutgoingMessage, Subscription, Topic
from infra.broker.window import Window
from infra.clock import ManualClock, SystemClock
from infra.refused import StoreRefused
from schemas.messages import SCHEMA_VERSION, MessageUnreadable, decode_message
from tests.contract.broker_adapters import (
    ADAPTERS,
    EVENTS,
    JOBS,
    PATIENCE_S,
    Adapter,
    open_broker,
    receive,
)
from tests.infra import message_examples as examples
from tests.infra.house import NoAttempts

PLENTY = 1 << 30

ours = pytest.mark.parametrize("adapter", ["sqlite"], indirect=True)
"""For what is left to the broker's own server otherwise."""


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    kind: str = request.param
    return Adapter(kind, request.getfixturevalue("kafka").plain if kind == "kafka" else "")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(adapter: Adapter, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Broker]:
    async with open_broker(adapter, tmp_path, clock) as opened:
        yield opened


def message(key: str, value: str = "") -> OutgoingMessage:
    return OutgoingMessage(key.encode(), value.encode())


async def publish(broker: Broker, topic: Topic, *values: str, key: str = "k") -> None:
    await broker.publish(topic, [message(key, value) for value in values], synced=False)


async def fetch(
    subscription: Subscription, *, max_messages: int = 1000, max_bytes: int = PLENTY, wait_s: float = 0
) -> list[Delivery]:
    return await subscription.fetch(max_messages=max_messages, max_bytes=max_bytes, wait_s=wait_s)


async def assert_nothing_comes(subscription: Subscription, adapter: Adapter) -> None:
    assert await fetch(subscription, wait_s=adapter.quiet_s) == []


def values(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.value.decode() for delivery in deliveries]


# Publishing and reading.


async def test_a_message_arrives_as_it_was_sent(adapter: Adapter, broker: Broker, clock: ManualClock) -> None:
    clock.advance(1.234567)
    sent = OutgoingMessage(b"\x00key\xff", os.urandom(2_000_000))
    before = clock.now() if adapter.is_ours else datetime.now(UTC) - timedelta(milliseconds=1)
    await broker.publish(EVENTS, [sent])
    after = clock.now() if adapter.is_ours else datetime.now(UTC)
    (delivery,) = await receive(await broker.subscribe(EVENTS, "g"), 1)
    assert (delivery.key, delivery.value) == (sent.key, sent.value)
    assert (delivery.topic, delivery.redelivered) == ("events", False)
    assert before <= delivery.appended_at <= after


async def test_a_key_keeps_its_order(broker: Broker) -> None:
    keys = [f"key{number % 7}" for number in range(210)]
    sent = [message(key, f"{number}") for number, key in enumerate(keys)]
    for start in range(0, len(sent), 30):
        await broker.publish(EVENTS, sent[start : start + 30], synced=False)
    received = await receive(await broker.subscribe(EVENTS, "g"), len(sent), max_messages=11)
    assert len(received) == len(sent)
    places: defaultdict[bytes, set[int]] = defaultdict(set)
    for key in set(keys):
        of_key = [delivery for delivery in received if delivery.key == key.encode()]
        assert values(of_key) == [f"{number}" for number, of in enumerate(keys) if of == key]
        assert [delivery.offset for delivery in of_key] == sorted(delivery.offset for delivery in of_key)
        places[key.encode()] = {delivery.partition for delivery in of_key}
    assert all(len(partitions) == 1 for partitions in places.values())
    assert len({partition for partitions in places.values() for partition in partitions}) > 1


async def test_concurrent_publishers_keep_their_own_order(broker: Broker) -> None:
    async def publisher(name: str) -> None:
        for number in range(30):
            await publish(broker, JOBS, f"{name} {number}")

    await asyncio.gather(*(publisher(name) for name in "abc"))
    received = values(await receive(await broker.subscribe(JOBS, "g"), 90))
    for name in "abc":
        assert [value for value in received if value.startswith(name)] == [f"{name} {i}" for i in range(30)]


async def test_publishing_nothing_is_fine(broker: Broker) -> None:
    await broker.publish(JOBS, [])
    assert await broker.lag(JOBS, "g") == Lag(0, None, ANY)


async def test_groups_are_independent(broker: Broker) -> None:
    await publish(broker, JOBS, "a", "b")
    one, other = await broker.subscribe(JOBS, "one"), await broker.subscribe(JOBS, "other")
    first = await receive(one, 2)
    await one.done(first)
    assert values(first) == values(await receive(other, 2)) == ["a", "b"]
    assert (await broker.lag(JOBS, "one")).messages == 0
    assert (await broker.lag(JOBS, "other")).messages == 2


async def test_a_message_is_handed_out_once_a_membership(adapter: Adapter, broker: Broker) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    await publish(broker, JOBS, "a")
    assert values(await receive(subscription, 1)) == ["a"]
    await assert_nothing_comes(subscription, adapter)
    await publish(broker, JOBS, "b")
    assert values(await receive(subscription, 1)) == ["b"]


async def test_what_is_given_back_is_delivered_again(adapter: Adapter, broker: Broker) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    await publish(broker, JOBS, "a", "b", "c", "d")
    a, b, c, d = await receive(subscription, 4)
    assert all(map(subscription.holds, (a, b, c, d)))
    await subscription.done([b])
    subscription.give_back([a, c])
    again = await receive(subscription, 2)
    assert values(again) == ["a", "c"]
    await assert_nothing_comes(subscription, adapter)
    assert (await broker.lag(JOBS, "g")).messages == 4
    await subscription.done([*again, d])
    assert await broker.lag(JOBS, "g") == Lag(0, None, ANY)


async def test_what_is_done_is_not_given_back(adapter: Adapter, broker: Broker) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    await publish(broker, JOBS, "a", "b")
    a, b = await receive(subscription, 2)
    await subscription.done([b])
    subscription.give_back([a, b])
    assert values(await receive(subscription, 1)) == ["a"]
    await assert_nothing_comes(subscription, adapter)


async def test_fetch_keeps_its_limits(broker: Broker) -> None:
    await publish(broker, JOBS, "x" * 100, "x" * 100, "x" * 100, "x" * 1000, "x", key="")
    subscription = await broker.subscribe(JOBS, "g")

    async def sizes(max_messages: int, max_bytes: int) -> list[int]:
        found = await fetch(subscription, max_messages=max_messages, max_bytes=max_bytes, wait_s=PATIENCE_S)
        return [len(delivery.value) for delivery in found]

    assert await sizes(1, PLENTY) == [100]
    assert await sizes(10, 250) == [100, 100]
    assert await sizes(10, 10) == [1000]
    assert await sizes(10, 10) == [1]


async def test_a_busy_partition_does_not_starve_the_others(broker: Broker) -> None:
    keys = [f"key{number}" for number in range(20)]
    for key in keys:
        await publish(broker, EVENTS, key, key=key)
    received = await receive(await broker.subscribe(EVENTS, "g"), 20)
    partition_of = {delivery.value.decode(): delivery.partition for delivery in received}
    busy, quiet = (next(key for key in keys if partition_of[key] == partition) for partition in (0, 1))
    await publish(broker, EVENTS, *["busy"] * 500, key=busy)
    await publish(broker, EVENTS, "quiet", key=quiet)
    late = await broker.subscribe(EVENTS, "late")
    assert "quiet" in values(await receive(late, 4 * 21, max_messages=2))


async def test_fetch_waits_for_a_message(broker: Broker) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    fetching = asyncio.create_task(fetch(subscription, wait_s=PATIENCE_S))
    await asyncio.sleep(0)
    await publish(broker, JOBS, "a")
    assert values(await fetching) == ["a"]


async def test_a_cancelled_fetch_loses_nothing(broker: Broker) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    sent = [f"{number}" for number in range(40)]
    received: list[str] = []
    for number, value in enumerate(sent):
        fetching = asyncio.create_task(fetch(subscription, wait_s=PATIENCE_S))
        await publish(broker, JOBS, value)
        for _ in range(number % 8):
            await asyncio.sleep(0)
        fetching.cancel()
        try:
            received += values(await fetching)
        except asyncio.CancelledError:
            continue
    received += values(await receive(subscription, len(sent) - len(received)))
    assert received == sent


# Groups and positions.


@ours
async def test_a_group_has_one_member_a_topic(broker: Broker) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    with pytest.raises(BrokerError):
        await broker.subscribe(JOBS, "g")
    await broker.subscribe(EVENTS, "g")
    await subscription.close()
    await subscription.close()
    await broker.subscribe(JOBS, "g")


async def test_who_has_left_can_do_nothing(broker: Broker) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    await publish(broker, JOBS, "a")
    deliveries = await receive(subscription, 1)
    await subscription.close()
    with pytest.raises(BrokerError):
        await subscription.done(deliveries)
    with pytest.raises(BrokerError):
        await fetch(subscription)


async def test_what_is_not_done_is_delivered_to_the_next_member(broker: Broker) -> None:
    await publish(broker, JOBS, "a", "b", "c", "d")
    first = await broker.subscribe(JOBS, "g")
    deliveries = await receive(first, 4)
    # Out of order: the position stays below "b".
    await first.done([deliveries[2]])
    await first.done([deliveries[0]])
    assert (await broker.lag(JOBS, "g")).messages == 3
    await first.close()
    second = await broker.subscribe(JOBS, "g")
    again = await receive(second, 3)
    assert values(again) == ["b", "c", "d"]
    assert all(delivery.redelivered for delivery in again)
    await second.done(again)
    await second.close()
    await publish(broker, JOBS, "e")
    (fresh,) = await receive(await broker.subscribe(JOBS, "g"), 1)
    assert (fresh.value, fresh.redelivered) == (b"e", False)


async def test_done_in_any_order_reaches_the_end(adapter: Adapter, broker: Broker) -> None:
    await broker.publish(EVENTS, [message(f"key{number % 9}", f"{number}") for number in range(200)])
    subscription = await broker.subscribe(EVENTS, "g")
    deliveries = await receive(subscription, 200)
    random.Random(7).shuffle(deliveries)
    await asyncio.gather(*(subscription.done([delivery]) for delivery in deliveries))
    await subscription.done(deliveries)
    assert await broker.lag(EVENTS, "g") == Lag(0, None, ANY)
    await subscription.close()
    await assert_nothing_comes(await broker.subscribe(EVENTS, "g"), adapter)


async def test_what_nobody_had_begun_with_is_not_redelivered(broker: Broker) -> None:
    first = await broker.subscribe(JOBS, "g")
    await publish(broker, JOBS, "a")
    await receive(first, 1)
    await publish(broker, JOBS, "b")
    await first.close()
    second = await broker.subscribe(JOBS, "g")
    await publish(broker, JOBS, "c")
    redelivered = {delivery.value: delivery.redelivered for delivery in await receive(second, 3)}
    assert redelivered == {b"a": True, b"b": False, b"c": False}


async def test_everything_is_there_after_reopening(
    adapter: Adapter, tmp_path: Path, clock: ManualClock
) -> None:
    async with open_broker(adapter, tmp_path, clock) as broker:
        await publish(broker, JOBS, "a", "b", "c")
        subscription = await broker.subscribe(JOBS, "g")
        deliveries = await receive(subscription, 2)
        await subscription.done(deliveries[:1])
    async with open_broker(adapter, tmp_path, clock) as broker:
        again = await receive(await broker.subscribe(JOBS, "g"), 2)
        assert values(again) == ["b", "c"]
        assert [delivery.redelivered for delivery in again] == [True, False]
        assert again[0].offset == deliveries[1].offset


async def test_another_partition_count_is_refused(
    adapter: Adapter, tmp_path: Path, clock: ManualClock
) -> None:
    async with open_broker(adapter, tmp_path, clock):
        pass
    with pytest.raises(StoreRefused, match="4 partitions, not 5"):
        async with open_broker(adapter, tmp_path, clock, [Topic("events", 5, keyed=True, retention_s=1)]):
            pass
    async with open_broker(adapter, tmp_path, clock, [EVENTS, Topic("new", 2, keyed=True, retention_s=1)]):
        pass


async def test_an_undeclared_topic_is_refused(broker: Broker) -> None:
    unknown = Topic("unknown", 1, keyed=False, retention_s=1)
    with pytest.raises(BrokerError):
        await broker.publish(unknown, [message("k")])
    with pytest.raises(BrokerError):
        await broker.subscribe(unknown, "g")
    with pytest.raises(BrokerError):
        await broker.lag(unknown, "g")


# Lag and cleaning.


async def test_lag(broker: Broker, clock: ManualClock) -> None:
    assert await broker.lag(EVENTS, "g") == Lag(0, None, ANY)
    for number in range(6):
        await publish(broker, EVENTS, f"{number}", key=f"key{number % 3}")
        clock.advance(1)
    before = await broker.lag(EVENTS, "g")
    subscription = await broker.subscribe(EVENTS, "g")
    deliveries = sorted(await receive(subscription, 6), key=lambda delivery: delivery.appended_at)
    times = [delivery.appended_at for delivery in deliveries]
    assert before == await broker.lag(EVENTS, "g") == Lag(6, times[0], ANY)
    await subscription.done(deliveries[:3])
    assert await broker.lag(EVENTS, "g") == Lag(3, times[3], ANY)
    assert await broker.lag(EVENTS, "other") == Lag(6, times[0], ANY)


async def test_lag_tells_how_fast_a_group_is(broker: Broker) -> None:
    """Two looks, and what was done between them, whatever was published or cleaned meanwhile."""
    await publish(broker, JOBS, *"abcdef")
    subscription = await broker.subscribe(JOBS, "g")
    deliveries = await receive(subscription, 6)
    await subscription.done(deliveries[:2])
    before = await broker.lag(JOBS, "g")
    await subscription.done(deliveries[2:])
    await publish(broker, JOBS, "g", "h")
    after = await broker.lag(JOBS, "g")
    assert after.consumed + after.messages - (before.consumed + before.messages) == 2
    assert after.consumed - before.consumed == before.messages


@ours
async def test_clean_drops_what_all_groups_are_done_with(broker: Broker, clock: ManualClock) -> None:
    await publish(broker, JOBS, "a", "b", "c")
    one, other = await broker.subscribe(JOBS, "one"), await broker.subscribe(JOBS, "other")
    await one.done(await fetch(one))
    assert await broker.clean(clock.now(), limit=100) == 0
    late = await fetch(other)
    await other.done(late[:2])
    assert await broker.clean(clock.now(), limit=1) == 1
    assert await broker.clean(clock.now(), limit=100) == 1
    assert await broker.lag(JOBS, "third") == Lag(1, clock.now(), ANY)
    await other.done(late[2:])
    assert await broker.clean(clock.now(), limit=100) == 1
    await publish(broker, JOBS, "d")
    (fresh,) = await fetch(one)
    assert fresh.value == b"d"
    assert fresh.offset > late[-1].offset
    assert await broker.lag(JOBS, "one") == Lag(1, clock.now(), ANY)


@ours
async def test_clean_drops_what_is_past_its_retention(broker: Broker, clock: ManualClock) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    await publish(broker, JOBS, "old", "old")
    await publish(broker, EVENTS, "kept longer")
    clock.advance(JOBS.retention_s / 2)
    await publish(broker, JOBS, "young")
    clock.advance(JOBS.retention_s / 2)
    assert await broker.clean(clock.now(), limit=100) == 2
    assert (await broker.lag(JOBS, "g")).messages == 1
    remaining = await fetch(subscription)
    assert values(remaining) == ["young"]
    await subscription.done(remaining)
    assert await broker.lag(JOBS, "g") == Lag(0, None, ANY)
    assert (await broker.lag(EVENTS, "g")).messages == 1


@ours
async def test_what_was_dropped_while_in_flight_can_be_done(broker: Broker, clock: ManualClock) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    await publish(broker, JOBS, "a")
    deliveries = await fetch(subscription)
    clock.advance(JOBS.retention_s)
    assert await broker.clean(clock.now(), limit=100) == 1
    await subscription.done(deliveries)
    await publish(broker, JOBS, "b")
    assert values(await fetch(subscription)) == ["b"]


@ours
async def test_offsets_are_never_used_again(adapter: Adapter, tmp_path: Path, clock: ManualClock) -> None:
    last = -1
    for _ in range(3):
        async with open_broker(adapter, tmp_path, clock) as broker:
            subscription = await broker.subscribe(JOBS, "g")
            await publish(broker, JOBS, "a", "b")
            deliveries = await fetch(subscription)
            assert [delivery.offset for delivery in deliveries] == [last + 1, last + 2]
            last += 2
            await subscription.done(deliveries)
            assert await broker.clean(clock.now(), limit=100) == 2


# Replies.


async def test_replies_reach_their_inbox(broker: Broker) -> None:
    one, other = await broker.open_replies(), await broker.open_replies()
    hint = (uuid4(), uuid4())
    receiving = asyncio.create_task(other.receive())
    await asyncio.sleep(0)
    await broker.reply(one.address, uuid4(), uuid4())
    await broker.reply(other.address, *hint)
    assert await receiving == hint
    assert one.address != other.address
    await other.close()
    await broker.reply(other.address, *hint)
    await broker.reply("nobody", *hint)
    with pytest.raises(BrokerError):
        await other.receive()


async def test_closing_an_inbox_wakes_its_receiver(broker: Broker) -> None:
    inbox = await broker.open_replies()
    receiving = asyncio.create_task(inbox.receive())
    await asyncio.sleep(0)
    await inbox.close()
    with pytest.raises(BrokerError):
        await receiving


async def test_ping(broker: Broker) -> None:
    await broker.ping()


# Versions.


async def test_a_message_of_an_unknown_version_goes_to_the_dead_letters(
    adapter: Adapter, tmp_path: Path
) -> None:
    letters, clock = Topic("letters", 1, keyed=False, retention_s=60), SystemClock()
    unknown = examples.message(*examples.BODIES["search"], version=SCHEMA_VERSION + 1)
    async with open_broker(adapter, tmp_path, clock, [JOBS, letters]) as broker:
        await broker.publish(JOBS, [OutgoingMessage(b"k", unknown)])
        window = Window(
            *(broker, JOBS, "g"),
            policy=DeliveryPolicy(backoff=Backoff(first_s=0.01)),
            clock=clock,
            attempts=NoAttempts(),
            dead_letters=BrokerDeadLetters(broker, letters, clock),
        )

        async def work() -> None:
            while taken := await window.next_batch(1, PLENTY):
                with pytest.raises(MessageUnreadable) as raised:
                    decode_message(taken[0].value)
                await window.settle(taken, outcome_of(raised.value))

        async with window:
            working = asyncio.create_task(work())
            (dead,) = await receive(await broker.subscribe(letters, "g"), 1)
            window.stop()
            await working
        letter = DeadLetter.unpack(dead.value)
        assert (letter.value, letter.cause, letter.attempts) == (unknown, UNREADABLE, 3)
        assert (await broker.lag(JOBS, "g")).messages == 0


# Being killed.


@asynccontextmanager
async def process(root: Path, *arguments: object) -> AsyncGenerator[asyncio.StreamReader]:
    """A process that works with the broker and tells of it line by line; killed at the end of the block."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.contract.broker_adapters", *map(str, arguments)),
        cwd=root,
        stdout=asyncio.subprocess.PIPE,
    )
    assert running.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield running.stdout
    finally:
        running.send_signal(signal.SIGKILL)
        await running.wait()


@pytest.mark.timeout(240)  # it starts a process three times
async def test_a_killed_writer_loses_nothing_it_was_told_is_kept(
    adapter: Adapter, tmp_path: Path, clock: ManualClock, project_root: Path
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    last, expected, highest = -1, 0, defaultdict[int, int](lambda: -1)
    for _ in range(3):
        async with process(project_root, adapter, tmp_path, "publish", expected) as told:
            for _ in range(chance.randint(20, 250)):
                last = int(await told.readline())
        # What it still told of before it died counts, too.
        last = max([last, *map(int, (await told.read()).split())])
        async with open_broker(adapter, tmp_path, clock) as broker:
            subscription = await broker.subscribe(EVENTS, "g")
            deliveries = await receive(subscription, (await broker.lag(EVENTS, "g")).messages)
            numbers = sorted(int.from_bytes(delivery.value[:8], "big") for delivery in deliveries)
            # Each once; the one that was under way when the writer died may be there.
            assert numbers in ([*range(expected, last + 1)], [*range(expected, last + 2)])
            for delivery in deliveries:
                assert delivery.offset > highest[delivery.partition]
                highest[delivery.partition] = delivery.offset
            expected = numbers[-1] + 1
            await subscription.done(deliveries)
            dropped = await broker.clean(clock.now(), limit=100_000)
            assert dropped == (len(deliveries) if adapter.is_ours else 0)


async def test_a_killed_member_is_followed_by_one_that_knows(
    adapter: Adapter, tmp_path: Path, clock: ManualClock, project_root: Path
) -> None:
    async with open_broker(adapter, tmp_path, clock) as broker:
        await broker.publish(EVENTS, [message(f"key{number % 9}", f"{number}") for number in range(60)])
    places: dict[str, set[tuple[int, int]]] = {"done": set(), "begun": set()}
    async with process(project_root, adapter, tmp_path, "consume", 30) as told:
        for _ in range(35):
            what, partition, offset = (await told.readline()).decode().split()
            places[what].add((int(partition), int(offset)))
    async with open_broker(adapter, tmp_path, clock) as broker:
        again = await receive(await broker.subscribe(EVENTS, "g"), 30)
    delivered = {(delivery.partition, delivery.offset): delivery for delivery in again}
    assert len(delivered) == 30
    assert not places["done"] & delivered.keys()
    assert len(places["begun"]) == 5
    assert all(delivered[place].redelivered for place in places["begun"])
