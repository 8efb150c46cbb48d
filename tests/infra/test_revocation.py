"""What a window does when partitions go to other members and come back: over a broker whose members lose them
when a test says so."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from infra.broker.delivery import Done, Failed, Outcome, Retry, StoreDown
from infra.broker.port import Delivery, OnRevoked, Subscription, Topic
from infra.broker.sqlite import SqliteBroker
from infra.broker.sqlite_subscription import SqliteSubscription
from infra.broker.window import Window
from infra.clock import ManualClock
from infra.sqlite.log import Span
from tests.infra.house import KEYED, PLENTY, POLICY, WIDE, House, batch, collect, open_house, values


class LendingMember(SqliteSubscription):
    """A member that has what partitions it is left with."""

    on_revoked: OnRevoked | None = None
    away: frozenset[int] = frozenset()

    def lose(self, *partitions: int) -> None:
        self.away |= set(partitions)
        assert self.on_revoked is not None
        self.on_revoked(partitions)

    def get_back(self) -> None:
        self.away = frozenset()
        self._of.appended.ring()

    def holds(self, delivery: Delivery) -> bool:
        return delivery.partition not in self.away

    def _unread(self) -> list[Span]:
        away = {self._of.partition_ids[number] for number in self.away}
        return [span for span in super()._unread() if span.partition_id not in away]


class LendingBroker(SqliteBroker):
    """Its last member is the one that tests take partitions from."""

    member: LendingMember

    async def subscribe(
        self, topic: Topic, group: str, *, on_revoked: OnRevoked | None = None
    ) -> Subscription:
        self.member = LendingMember(self._file, self._log(topic), group, on_close=lambda: None)
        self.member.on_revoked = on_revoked
        await self.member.join()
        return self.member


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def house(tmp_path: Path, clock: ManualClock) -> AsyncIterator[House]:
    async with open_house(tmp_path / "house.sqlite", clock, LendingBroker) as opened:
        yield opened


def member(house: House) -> LendingMember:
    assert isinstance(house.broker, LendingBroker)
    return house.broker.member


async def until(holds: Callable[[], bool]) -> None:
    for _ in count():
        if holds():
            return
        await asyncio.sleep(0)


async def until_in_window(window: Window, number: int) -> None:
    await until(lambda: len(window._lanes) == number)


async def test_what_has_not_begun_leaves_the_window(house: House) -> None:
    await house.publish(WIDE, *"abcdefgh")
    async with house.window(WIDE) as window:
        await until_in_window(window, 8)
        deliveries = await collect(window, 8)
        await window.settle(deliveries, Retry(0))
        gone = deliveries[0].partition
        member(house).lose(gone)
        kept = [delivery for delivery in deliveries if delivery.partition != gone]
        assert len(window._lanes) == len(kept)
        assert window._lanes.bytes == sum(len(delivery.key + delivery.value) for delivery in kept)
        again = await collect(window, len(kept))
        assert sorted(values(again)) == sorted(values(kept))
        await window.settle(again, Done())
        member(house).get_back()
        back = await collect(window, 8 - len(kept))
        assert {delivery.partition for delivery in back} == {gone}
        await window.settle(back, Done())
    assert await house.lag(WIDE) == 0


@pytest.mark.parametrize("topic", [WIDE, KEYED])
async def test_what_has_begun_goes_on_and_is_not_begun_again(house: House, topic: Topic) -> None:
    await house.publish(topic, "a1", "a2", "a3", "a4")
    async with house.window(topic) as window:
        await until_in_window(window, 4)
        running, finishing = await collect(window, 2)
        member(house).lose(running.partition)
        await until_in_window(window, 2)
        await window.settle([finishing], Done())
        assert await house.lag(topic) == 4
        member(house).get_back()
        if topic.keyed:
            # The rest of the key waits for the one that runs.
            await until_in_window(window, 3)
            assert window.take(10, PLENTY) == []
            await window.settle([running], Done())
        rest = await collect(window, 2)
        assert values(rest) == ["a3", "a4"]
        await window.settle(rest, Done())
        if not topic.keyed:
            await window.settle([running], Done())
    assert await house.lag(topic) == 0


@pytest.mark.parametrize("outcome", [Retry(), Retry(0), Failed("bad"), StoreDown()])
async def test_what_would_be_tried_again_is_left_to_who_has_the_partition(
    house: House, outcome: Outcome
) -> None:
    await house.publish(WIDE, "a")
    async with house.window(WIDE) as window:
        (delivery,) = await batch(window)
        member(house).lose(delivery.partition)
        await window.settle([delivery], outcome)
        assert len(window._lanes) == 0
        member(house).get_back()
        if outcome == StoreDown():
            await house.tick(1)
        (again,) = await batch(window)
        assert again.offset == delivery.offset
        await window.settle([again], Done())
    assert await house.lag(WIDE) == 0


async def test_a_parked_key_that_comes_back_still_waits(house: House) -> None:
    await house.publish(KEYED, "a1", "a2")
    async with house.window(KEYED) as window:
        (first,) = await batch(window, 1)
        await window.settle([first], Retry(5))
        member(house).lose(first.partition)
        assert len(window._lanes) == 0
        member(house).get_back()
        await until_in_window(window, 2)
        assert window.take(10, PLENTY) == []
        await house.tick(5)
        assert values(await batch(window)) == ["a1", "a2"]


async def test_nothing_is_kept_of_a_partition_that_stays_away(house: House) -> None:
    await house.publish(WIDE, "a1")
    async with house.window(WIDE) as window:
        (delivery,) = await batch(window)
        await window.settle([delivery], Retry(5))
        member(house).lose(delivery.partition)
        await house.tick(5)
        await asyncio.sleep(0)
        assert not window._lanes._lanes


async def test_a_turn_in_a_partition_goes_with_it(house: House) -> None:
    await house.publish(WIDE, "a1", "a2", "a3")
    async with house.window(WIDE) as window:
        await until_in_window(window, 3)
    async with house.window(WIDE) as window:
        (first,) = await batch(window)
        assert first.redelivered
        # Another one has its turn and its attempt counted, and the third waits.
        await window.settle([first], Retry(0))
        (second,) = await batch(window)
        member(house).lose(second.partition)
        member(house).get_back()
        await window.settle([second], Done())
        for _ in range(2):
            await window.settle(await batch(window), Done())
    assert await house.lag(WIDE) == 0


async def test_who_wanted_to_be_alone_lets_the_others_go_on(house: House) -> None:
    await house.publish(WIDE, "a", "bb", "cc", "dd", "ee")
    policy = replace(POLICY, max_attempts=2)
    async with house.window(WIDE, policy=policy) as window:
        await until_in_window(window, 5)
        deliveries = await collect(window, 5)
        bad = deliveries[0]
        others = [delivery for delivery in deliveries if delivery.partition != bad.partition]
        beside = [delivery for delivery in deliveries[1:] if delivery not in others]
        await window.settle([bad], Failed("bad"))
        await house.tick(1)
        await until(lambda: window._turns.alone is not None)
        assert window.take(10, PLENTY) == []
        member(house).lose(bad.partition)
        await window.settle(others[:1], Retry(0))
        assert values(await batch(window)) == values(others[:1])
        await window.settle([*others, *beside], Done())
        member(house).get_back()
        (again,) = await batch(window)
        assert again.value == bad.value
        await window.settle([again], Done())
    assert await house.lag(WIDE) == 0


async def pass_time(house: House) -> None:
    while True:
        await house.clock.until_sleeping()
        house.clock.advance(1)


async def come_and_go(house: House, topic: Topic, chance: random.Random) -> None:
    while True:
        member(house).lose(*chance.sample(range(topic.partitions), chance.randint(1, topic.partitions)))
        await asyncio.sleep(0.002 * chance.random())
        member(house).get_back()
        await asyncio.sleep(0.01 * chance.random())


@pytest.mark.parametrize("topic", [WIDE, KEYED])
async def test_all_ends_however_partitions_come_and_go(house: House, topic: Topic) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    sent = [f"{chance.choice('abcdef')}{number}" for number in range(200)]
    await house.publish(topic, *sent)
    done: list[str] = []
    window = house.make_window(topic)

    async def work() -> None:
        while taken := await window.next_batch(chance.randint(1, 5), PLENTY):
            for _ in range(chance.randint(0, 3)):
                await asyncio.sleep(0)
            outcome = chance.choice([Done(), Done(), Done(), Retry(), Retry(0), StoreDown()])
            if outcome == Done():
                done.extend(values(taken))
            await window.settle(taken, outcome)

    async with window, asyncio.TaskGroup() as group:
        beside = [group.create_task(pass_time(house)), group.create_task(come_and_go(house, topic, chance))]
        workers = [group.create_task(work()) for _ in range(4)]
        while await house.lag(topic) or len(done) < len(sent):
            pass
        window.stop()
        await asyncio.wait(workers)
        for task in beside:
            task.cancel()
    assert sorted(done) == sorted(sent)
    for key in "abcdef" if topic.keyed else ():
        of_key = [value for value in done if value[0] == key]
        assert of_key == sorted(of_key, key=sent.index)
