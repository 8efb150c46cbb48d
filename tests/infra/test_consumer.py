"""The rules of delivery, over a real broker and real documents; time is the test's."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infra.broker.dead_letters import DeadLetter, DeadLetterUnreadable
from infra.broker.delivery import (
    KILLED,
    UNEXPECTED,
    UNREADABLE,
    Backoff,
    DeliveryPolicy,
    Done,
    Failed,
    Outcome,
    Retry,
    StoreDown,
)
from infra.broker.doorbell import Doorbell
from infra.broker.port import BrokerError, BrokerUnavailable, Delivery, Topic
from infra.broker.window import Window
from infra.clock import ManualClock
from infra.documents.port import DocumentsUnavailable
from infra.objects.port import ObjectsUnavailable
from infra.vectors.port import VectorsUnavailable
from schemas.messages import MessageUnreadable
from tests.infra.consumer import Consumer, Handler
from tests.infra.house import (
    GROUP,
    KEYED,
    LETTERS,
    LOOSE,
    PLENTY,
    POLICY,
    WIDE,
    House,
    batch,
    collect,
    open_house,
    single,
    values,
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def house(tmp_path: Path, clock: ManualClock) -> AsyncIterator[House]:
    async with open_house(tmp_path / "house.sqlite", clock) as opened:
        yield opened


def nothing(window: Window) -> bool:
    return window.take(1, PLENTY) == []


async def loop_turns() -> None:
    """Let tasks that wait for nothing take their next steps."""
    for _ in range(10):
        await asyncio.sleep(0)


# Handing out.


async def test_a_batch_keeps_its_limits(house: House) -> None:
    await house.publish(LOOSE, "a1", "a2", "b" * 50, "c1")
    async with house.window(LOOSE) as window:
        assert values(await batch(window, 2)) == ["a1", "a2"]
        assert values(await batch(window, 9, 10)) == ["b" * 50]
        assert values(await batch(window, 9, 10)) == ["c1"]
        assert nothing(window)


async def test_a_settled_batch_moves_the_position(house: House) -> None:
    await house.publish(LOOSE, "a", "b", "c")
    async with house.window(LOOSE) as window:
        a, b, c = await collect(window, 3)
        await window.settle([b, c], Done())
        assert await house.lag(LOOSE) == 3
        await window.settle([a], Done())
        assert await house.lag(LOOSE) == 0


async def test_messages_of_a_key_wait_for_one_another(house: House) -> None:
    await house.publish(KEYED, "a1", "a2", "b1", "a3", "b2")
    async with house.window(KEYED) as window:
        first, second = await single(window), await single(window)
        assert sorted(values([first, second])) == ["a1", "b1"]
        assert nothing(window)
        await window.settle([first], Done())
        follower = await single(window)
        assert values([follower])[0] == values([first])[0].replace("1", "2")
        assert nothing(window)


async def test_a_batch_of_a_keyed_topic_is_of_one_key_in_order(house: House) -> None:
    await house.publish(KEYED, "a1", "b1", "a2", "b2", "a3", "a4")
    async with house.window(KEYED) as window:
        batches = [await batch(window), await batch(window)]
        assert sorted(map(values, batches)) == [["a1", "a2", "a3", "a4"], ["b1", "b2"]]
        await house.publish(KEYED, "a5", "c1")
        assert values(await batch(window)) == ["c1"]
        assert nothing(window)
        for of_a_key in batches:
            await window.settle(of_a_key, Done())
        assert values(await batch(window)) == ["a5"]


async def test_nothing_is_fetched_beyond_the_window(house: House) -> None:
    await house.publish(LOOSE, *(f"a{number}" for number in range(6)))
    policy = DeliveryPolicy(max_in_flight=2, backoff=POLICY.backoff)
    async with house.window(LOOSE, policy=policy) as window:
        first, second = await collect(window, 2)
        await house.publish(LOOSE, "b")
        assert nothing(window)
        await window.settle([second], Done())
        assert values(await batch(window)) == ["a2"]
        assert nothing(window)
        # One that is parked is still in flight.
        await window.settle([first], Retry(1000))
        assert nothing(window)


async def test_a_window_counts_bytes(house: House) -> None:
    await house.publish(LOOSE, "a" * 100, "b" * 100, "c" * 100)
    policy = DeliveryPolicy(max_bytes_in_flight=150, backoff=POLICY.backoff)
    async with house.window(LOOSE, policy=policy) as window:
        first = await single(window)
        # It has room for 49 more bytes, and a first message is handed out at whatever size.
        second = await single(window)
        assert nothing(window)
        await window.settle([first, second], Done())
        assert values(await batch(window)) == ["c" * 100]


async def test_windows_share_a_doorbell(house: House) -> None:
    doorbell = Doorbell()
    async with (
        house.window(LOOSE, doorbell=doorbell) as urgent,
        house.window(WIDE, doorbell=doorbell) as later,
    ):
        waiting = asyncio.create_task(doorbell.listen().wait())
        await house.publish(WIDE, "b")
        await waiting
        await house.publish(LOOSE, "a")
        taken: list[str] = []
        while len(taken) < 2:
            rung = doorbell.listen()
            found = urgent.take(1, PLENTY) or later.take(1, PLENTY)
            taken += values(found)
            if not found:
                await rung.wait()
        assert sorted(taken) == ["a", "b"]


async def test_a_cancelled_wait_loses_nothing(house: House) -> None:
    async with house.window(LOOSE) as window:
        waiting = asyncio.create_task(batch(window))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await house.publish(LOOSE, "a")
        assert values(await batch(window)) == ["a"]


async def test_a_window_that_can_fetch_no_more_says_so(house: House) -> None:
    async with house.window(LOOSE) as window:
        waiting = asyncio.create_task(batch(window))
        await asyncio.sleep(0)
        await house.broker.close()
        with pytest.raises(BrokerError):
            await waiting
    await house.broker.start([LOOSE, WIDE, KEYED, LETTERS])


# Trying again.


async def test_a_parked_message_holds_up_nothing_else(house: House) -> None:
    await house.publish(LOOSE, "a", "b")
    async with house.window(LOOSE) as window:
        first = await single(window)
        await window.settle([first], Retry())
        second = await single(window)
        assert values([first, second]) == ["a", "b"]
        await window.settle([second], Done())
        assert nothing(window)
        await house.tick(1)
        assert await single(window) == first


async def test_a_parked_message_holds_up_its_key(house: House) -> None:
    await house.publish(KEYED, "a1", "a2", "b1", "a3")
    async with house.window(KEYED) as window:
        heads = {
            delivery.value.decode(): delivery for delivery in [await single(window), await single(window)]
        }
        await window.settle([heads["a1"]], Retry(5))
        await window.settle([heads["b1"]], Done())
        await house.publish(KEYED, "b2")
        assert values(await batch(window)) == ["b2"]
        assert nothing(window)
        await house.tick(5)
        assert values(await batch(window)) == ["a1", "a2", "a3"]


async def test_the_rest_of_a_batch_can_be_given_back(house: House) -> None:
    await house.publish(KEYED, "a1", "a2", "a3", "a4")
    async with house.window(KEYED) as window:
        one, two, three, four = await collect(window, 4)
        await window.settle([one], Done())
        await window.settle([three, four], Retry(0))
        assert nothing(window)
        await window.settle([two], Retry(5))
        assert nothing(window)
        await house.tick(5)
        assert values(await batch(window)) == ["a2", "a3", "a4"]


async def test_waits_grow_and_no_attempt_is_counted(house: House) -> None:
    await house.publish(LOOSE, "a")
    async with house.window(LOOSE) as window:
        for wait_s in (1, 2, 4, 8, 8, 8):
            delivery = await single(window)
            await window.settle([delivery], Retry())
            await house.tick(wait_s - 0.5)
            assert nothing(window)
            await house.tick(0.5)
        assert values(await batch(window)) == ["a"]
        assert await house.dead() == []


def test_waits_are_jittered() -> None:
    backoff = Backoff(first_s=1, factor=3, max_s=20, jitter=0.5, chance=lambda: 0.5)
    assert [backoff.wait_s(failures) for failures in (1, 2, 3, 4, 5000)] == [0.75, 2.25, 6.75, 15, 15]


# Giving up.


async def test_a_failing_message_goes_to_the_dead_letters(house: House) -> None:
    await house.publish(LOOSE, "a", "b")
    async with house.window(LOOSE) as window:
        for wait_s in (1, 2):
            first = await single(window)
            assert values([first]) == ["a"]
            await window.settle([first], Failed("broken"))
            if wait_s == 1:
                await window.settle([await single(window)], Done())
            await house.tick(wait_s)
        last = await single(window)
        assert await house.dead() == []
        await window.settle([last], Failed("quite_broken"))
        (letter,) = await house.dead()
        assert (letter.topic, letter.partition, letter.offset) == ("loose", 0, last.offset)
        assert (letter.key, letter.value) == (b"a", b"a")
        assert (letter.cause, letter.attempts, letter.died_at) == ("quite_broken", 3, house.clock.now())
        assert await house.lag(LOOSE) == 0


async def test_a_given_up_message_frees_its_key(house: House) -> None:
    await house.publish(KEYED, "a1", "a2")
    policy = DeliveryPolicy(max_attempts=1, backoff=POLICY.backoff)
    async with house.window(KEYED, policy=policy) as window:
        await window.settle([await single(window)], Failed("broken"))
        assert values(await batch(window)) == ["a2"]
    assert [letter.value for letter in await house.dead()] == [b"a1"]


async def test_the_last_attempt_is_made_alone(house: House) -> None:
    await house.publish(LOOSE, "a", "b", "c")
    policy = DeliveryPolicy(max_attempts=2, backoff=POLICY.backoff)
    async with house.window(LOOSE, policy=policy) as window:
        a, b = await collect(window, 2)
        await window.settle([a], Failed("broken"))
        await house.tick(1)
        # From now on the window makes room for "a"; "b" is still out and "c" waits.
        await loop_turns()
        assert nothing(window)
        await window.settle([b], Done())
        assert await batch(window) == [a]
        assert nothing(window)
        await window.settle([a], Done())
        assert values(await batch(window)) == ["c"]


async def test_a_keyed_batch_stops_before_a_last_attempt(house: House) -> None:
    await house.publish(KEYED, "a1", "a2", "a3")
    policy = DeliveryPolicy(max_attempts=2, backoff=POLICY.backoff)
    async with house.window(KEYED, policy=policy) as window:
        one, two, three = await collect(window, 3)
        await window.settle([two], Failed("broken"))
        await window.settle([one, three], Retry(0))
        await house.tick(1)
        for expected in (["a1"], ["a2"], ["a3"]):
            delivered = await batch(window)
            assert values(delivered) == expected
            await window.settle(delivered, Done())


# Stores that are down.


async def test_a_store_that_is_down_pauses_everything(house: House) -> None:
    await house.publish(LOOSE, "a", "b", "c")
    async with house.window(LOOSE) as window:
        a = await single(window)
        await window.settle([a], StoreDown())
        assert nothing(window)
        for wait_s in (1, 2, 4, 8, 8):
            await house.tick(wait_s)
            # A probe, alone; its failure makes the next pause longer.
            (probe,) = await batch(window)
            assert nothing(window)
            await window.settle([probe], StoreDown())
            assert nothing(window)
        await house.tick(8)
        (probe,) = await batch(window)
        await window.settle([probe], Done())
        await window.settle(await collect(window, 2), Done())
        assert await house.lag(LOOSE) == 0
        assert await house.dead() == []


async def test_several_that_meet_a_store_down_pause_once(house: House) -> None:
    await house.publish(LOOSE, "a", "b", "c")
    async with house.window(LOOSE) as window:
        out = await collect(window, 3)
        for delivery in out:
            await window.settle([delivery], StoreDown())
        await house.tick(1)
        await window.settle(await batch(window), Done())
        assert len(await collect(window, 2)) == 2


async def test_done_is_said_until_it_is_heard(house: House) -> None:
    await house.publish(LOOSE, "a", "b")
    async with house.window(LOOSE) as window:
        a = await single(window)
        async with house.file_locked():
            settling = asyncio.create_task(window.settle([a], Done()))
            # Its own wait, and the pause of the window.
            await house.clock.until_sleeping(2)
            assert nothing(window)
        house.clock.advance(1)
        await settling
        assert await house.lag(LOOSE) == 1
        await window.settle([await single(window)], Done())


# Takeovers.


async def leave_begun(house: House, topic: Topic, number: int) -> None:
    """A member that takes messages and never settles them."""
    async with house.window(topic) as window:
        await collect(window, number)


async def test_what_an_earlier_member_began_runs_one_at_a_time(house: House) -> None:
    await house.publish(LOOSE, "a", "b", "c")
    await leave_begun(house, LOOSE, 3)
    async with house.window(LOOSE) as window:
        await house.publish(LOOSE, "d", "e")
        taken = await collect(window, 3)
        # What is new goes on beside it.
        assert sorted(values(taken)) == ["a", "d", "e"]
        assert nothing(window)
        for expected in ("b", "c"):
            await window.settle([next(one for one in taken if one.redelivered)], Done())
            taken = await batch(window)
            assert values(taken) == [expected]
            assert nothing(window)
            assert await house.attempts.count(f"{GROUP}/loose/0/{taken[0].offset}") == 1


async def test_partitions_are_taken_over_side_by_side(house: House) -> None:
    await house.publish(WIDE, *(f"{letter}{number}" for number in range(2) for letter in "abcdefgh"))
    await leave_begun(house, WIDE, 16)
    async with house.window(WIDE) as window:
        first = await collect(window, 4)
        assert {delivery.partition for delivery in first} == {0, 1, 2, 3}
        assert nothing(window)


async def test_a_key_stays_in_order_through_a_takeover(house: House) -> None:
    await house.publish(KEYED, "a1", "a2")
    await leave_begun(house, KEYED, 2)
    async with house.window(KEYED) as window:
        await house.publish(KEYED, "a3", "a4")
        for expected in (["a1"], ["a2"], ["a3", "a4"]):
            taken = await batch(window)
            assert values(taken) == expected
            assert nothing(window)
            await window.settle(taken, Done())


async def test_a_message_that_kills_is_found_out(house: House) -> None:
    await house.publish(LOOSE, "killer", "innocent")
    # The first time it is not known to be one; then it dies three times, its attempt written down before.
    await leave_begun(house, LOOSE, 2)
    for _ in range(3):
        async with house.window(LOOSE) as window:
            assert values(await batch(window)) == ["killer"]
            assert nothing(window)
    async with house.window(LOOSE) as window:
        survivor = await single(window)
        assert values([survivor]) == ["innocent"]
        await window.settle([survivor], Done())
    (letter,) = await house.dead()
    assert (letter.value, letter.cause, letter.attempts) == (b"killer", KILLED, 3)
    assert await house.lag(LOOSE) == 0


async def test_the_last_attempt_after_takeovers_is_made_alone(house: House) -> None:
    await house.publish(LOOSE, "killer")
    await leave_begun(house, LOOSE, 1)
    for _ in range(2):
        await leave_begun(house, LOOSE, 1)
    await house.publish(LOOSE, "other")
    async with house.window(LOOSE) as window:
        other = await single(window)
        assert values([other]) == ["other"]
        # Nothing is written down before it can begin.
        key = f"{GROUP}/loose/0/0"
        assert nothing(window)
        assert await house.attempts.count(key) == 2
        await window.settle([other], Done())
        killer = await single(window)
        assert values([killer]) == ["killer"]
        assert await house.attempts.count(key) == 3
        await window.settle([killer], Done())


async def test_waiting_after_a_takeover_counts_no_attempt(house: House) -> None:
    await house.publish(LOOSE, "a", "b")
    await leave_begun(house, LOOSE, 2)
    async with house.window(LOOSE) as window:
        a = await single(window)
        for wait_s in (1, 2, 4, 8):
            await window.settle([a], Retry())
            # The other one has its turn meanwhile.
            other = await single(window)
            assert values([other]) == ["b"]
            await window.settle([other], Retry(wait_s))
            await house.tick(wait_s, sleepers=2)
            a = await single(window)
            assert values([a]) == ["a"]
        assert await house.attempts.count(f"{GROUP}/loose/0/0") == 1
        assert await house.dead() == []


async def test_failures_and_kills_are_counted_together(house: House) -> None:
    await house.publish(LOOSE, "a")
    await leave_begun(house, LOOSE, 1)
    await leave_begun(house, LOOSE, 1)
    async with house.window(LOOSE) as window:
        await window.settle([await single(window)], Failed("broken"))
        await house.tick(2)
        await window.settle([await single(window)], Failed("broken"))
        (letter,) = await house.dead()
        assert (letter.cause, letter.attempts) == ("broken", 3)


async def test_attempts_are_written_down_when_the_store_is_back(house: House) -> None:
    await house.publish(LOOSE, "a")
    await leave_begun(house, LOOSE, 1)
    window = house.make_window(LOOSE)
    await window.__aenter__()
    async with house.file_locked():
        await house.clock.until_sleeping(2)
        assert nothing(window)
    house.clock.advance(1)
    assert values(await batch(window)) == ["a"]
    await window.__aexit__(None, None, None)


async def test_attempts_at_the_same_time_are_all_counted(house: House) -> None:
    counts = await asyncio.gather(*(house.attempts.record("m") for _ in range(10)))
    assert sorted(counts) == list(range(1, 11))
    assert await house.attempts.count("m") == 10
    assert await house.attempts.count("other") == 0


# All of it at once.


@dataclass
class Crowd:
    """Workers over one window whose handling ends in every way there is, by chance."""

    house: House
    topic: Topic
    chance: random.Random
    out: list[str] = field(default_factory=list[str])
    done: list[str] = field(default_factory=list[str])

    async def work_until(self, ended: Callable[[Sequence[str]], Awaitable[bool]]) -> None:
        window = self.house.make_window(self.topic)
        async with window, asyncio.TaskGroup() as group:
            time = group.create_task(self.pass_time())
            workers = [group.create_task(self.work(window)) for _ in range(4)]
            while not await ended(self.done):
                pass
            window.stop()
            await asyncio.wait(workers)
            time.cancel()

    async def pass_time(self) -> None:
        while True:
            await self.house.clock.until_sleeping()
            self.house.clock.advance(1)

    async def work(self, window: Window) -> None:
        while taken := await window.next_batch(self.chance.randint(1, 5), PLENTY):
            if self.topic.keyed:
                # One batch of a key at a time.
                assert not {value[0] for value in values(taken)} & {value[0] for value in self.out}
            self.out += values(taken)
            for _ in range(self.chance.randint(0, 3)):
                await asyncio.sleep(0)
            give_back = False
            for delivery in taken:
                outcome = Retry(0) if give_back else self.any_outcome()
                # What comes after one that is to be tried again must wait for it.
                give_back = give_back or (self.topic.keyed and outcome != Done())
                await self.settle(window, delivery, outcome)

    async def settle(self, window: Window, delivery: Delivery, outcome: Outcome) -> None:
        (value,) = values([delivery])
        self.out.remove(value)
        if outcome == Done():
            self.done.append(value)
        await window.settle([delivery], outcome)

    def any_outcome(self) -> Outcome:
        usual: list[Outcome] = [Done()] * 4
        return self.chance.choice([*usual, Retry(), Retry(0), Failed("bad"), Failed("bad"), StoreDown()])


@pytest.mark.parametrize("topic", [WIDE, KEYED])
async def test_every_message_comes_to_its_end_in_order(house: House, topic: Topic) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    sent = [f"{chance.choice('abcdef')}{number}" for number in range(150)]
    await house.publish(topic, *sent)
    ended: set[str] = set()
    # Each is followed by a member that takes over what it leaves.
    for least in (40, 90, 150):
        crowd = Crowd(house, topic, chance)

        async def enough(done: Sequence[str], least: int = least) -> bool:
            ended.update(done, (letter.value.decode() for letter in await house.dead()))
            return len(ended) >= least and (least < len(sent) or await house.lag(topic) == 0)

        await crowd.work_until(enough)
        await enough(crowd.done)  # What ended while it stopped counts, too.
        for key in "abcdef" if topic.keyed else ():
            of_key = [value for value in crowd.done if value[0] == key]
            assert of_key == sorted(of_key, key=sent.index)
    assert ended == set(sent)
    assert await house.lag(topic) == 0


# Consumers.


@dataclass
class Script:
    """A handler that does what a test says: each value's outcomes in turn, None for success."""

    outcomes: dict[str, list[Exception | None]] = field(default_factory=dict[str, list[Exception | None]])
    handled: list[str] = field(default_factory=list[str])
    blocked: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    running: int = 0
    most_running: int = 0
    doorbell: Doorbell = field(default_factory=Doorbell)

    async def __call__(self, delivery: Delivery) -> None:
        value = delivery.value.decode()
        self.handled.append(value)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.doorbell.ring()
        try:
            if value in self.blocked:
                await self.blocked[value].wait()
            planned = self.outcomes.get(value)
            error = planned.pop(0) if planned else None
            if error is not None:
                raise error
        finally:
            self.running -= 1

    async def until_handled(self, number: int) -> None:
        while True:
            rung = self.doorbell.listen()
            if len(self.handled) >= number:
                return
            await rung.wait()


@asynccontextmanager
async def consuming(
    house: House, topic: Topic, handler: Handler, *, concurrency: int = 4
) -> AsyncGenerator[Consumer]:
    consumer = Consumer(house.make_window(topic), handler, concurrency=concurrency)
    running = asyncio.create_task(consumer.run())
    try:
        yield consumer
        await consumer.drain(30)
    finally:
        running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.result()


async def test_a_consumer_handles_everything(house: House) -> None:
    sent = [f"{letter}{number}" for number in range(10) for letter in "abc"]
    await house.publish(KEYED, *sent)
    script = Script()
    async with consuming(house, KEYED, script):
        await script.until_handled(30)
    for letter in "abc":
        of_key = [value for value in script.handled if value[0] == letter]
        assert of_key == [value for value in sent if value[0] == letter]
    assert await house.lag(KEYED) == 0


async def test_a_consumer_runs_so_many_at_once(house: House) -> None:
    await house.publish(LOOSE, *"abcdef")
    script = Script(blocked={value: asyncio.Event() for value in "abcdef"})
    async with consuming(house, LOOSE, script, concurrency=3):
        await script.until_handled(3)
        for event in script.blocked.values():
            event.set()
        await script.until_handled(6)
    assert script.most_running == 3


async def test_a_consumer_tries_again(house: House) -> None:
    await house.publish(LOOSE, "a")
    script = Script({"a": [ValueError(), MessageUnreadable("bad")]})
    async with consuming(house, LOOSE, script):
        for number, wait_s in enumerate((1, 2), start=1):
            await script.until_handled(number)
            await house.tick(wait_s)
        await script.until_handled(3)
    assert await house.lag(LOOSE) == 0
    assert await house.dead() == []


@pytest.mark.parametrize(
    ("error", "cause"), [(ValueError, UNEXPECTED), (lambda: MessageUnreadable("bad"), UNREADABLE)]
)
async def test_a_consumer_gives_up(house: House, error: type[Exception], cause: str) -> None:
    await house.publish(LOOSE, "a", "b")
    script = Script({"a": [error(), error(), error()]})
    async with consuming(house, LOOSE, script):
        for number, wait_s in ((2, 1), (3, 2)):
            await script.until_handled(number)
            await house.tick(wait_s)
        await script.until_handled(4)
    assert sorted(script.handled) == ["a", "a", "a", "b"]
    assert [(letter.value, letter.cause) for letter in await house.dead()] == [(b"a", cause)]
    assert await house.lag(LOOSE) == 0


@pytest.mark.parametrize(
    "error", [BrokerUnavailable, DocumentsUnavailable, ObjectsUnavailable, VectorsUnavailable]
)
async def test_a_consumer_waits_for_a_store(house: House, error: type[Exception]) -> None:
    await house.publish(LOOSE, "a")
    script = Script({"a": [error() for _ in range(5)]})
    async with consuming(house, LOOSE, script):
        for number, wait_s in enumerate((1, 2, 4, 8, 8), start=1):
            await script.until_handled(number)
            await house.tick(wait_s)
        await script.until_handled(6)
    assert await house.lag(LOOSE) == 0
    assert await house.dead() == []


async def test_draining_finishes_what_is_in_hand(house: House) -> None:
    await house.publish(LOOSE, "a", "b")
    script = Script(blocked={"a": asyncio.Event()})
    async with consuming(house, LOOSE, script, concurrency=1) as consumer:
        await script.until_handled(1)
        draining = asyncio.create_task(consumer.drain(30))
        await asyncio.sleep(0)
        script.blocked["a"].set()
        await draining
    assert script.handled == ["a"]
    assert await house.lag(LOOSE) == 1


async def test_draining_cuts_off_what_takes_too_long(house: House) -> None:
    await house.publish(LOOSE, "a")
    script = Script(blocked={"a": asyncio.Event()})
    async with consuming(house, LOOSE, script) as consumer:
        await script.until_handled(1)
        await consumer.drain(0)
    assert script.running == 0
    assert await house.lag(LOOSE) == 1
    async with house.window(LOOSE) as window:
        delivery = await single(window)
        assert delivery.redelivered


async def test_a_cancelled_consumer_leaves(house: House) -> None:
    await house.publish(LOOSE, "a")
    script = Script(blocked={"a": asyncio.Event()})
    running = asyncio.create_task(Consumer(house.make_window(LOOSE), script, concurrency=2).run())
    await script.until_handled(1)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert script.running == 0
    await (await house.broker.subscribe(LOOSE, GROUP)).close()


async def test_a_consumer_that_never_ran_drains(house: House) -> None:
    await Consumer(house.make_window(LOOSE), Script(), concurrency=1).drain(1)


def test_what_is_no_dead_letter_is_told() -> None:
    for packed in (b"", b"\xc1", b"\x80", b"\x01", b"text"):
        with pytest.raises(DeadLetterUnreadable):
            DeadLetter.unpack(packed)
