"""What a group's member has in flight in one topic: fetched and not yet done with.

The rules of delivery are kept here, once for every broker and every worker:

- At most so many messages and bytes are in flight; nothing is fetched beyond that.
- On a keyed topic the messages of a key are handled one after another: a batch is of one key, in order.
- A message that must wait is parked, and on a keyed topic its key with it; everything else goes on.
- While a store is down nothing is handed out; after a wait one message is, and when it fares better, all.
- A message that an earlier member may have begun with is handed out only while no other such message of its
  partition is, its attempt written down first: so the one that kills the process is found out.
- A message's last attempt is made alone, so that it takes nothing with it, and nothing takes it along.
- A message out of attempts goes to the dead letters.
- When partitions go to other members, what has begun goes on here, and all else leaves the window, as does
  what would have to be tried again.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self

from infra.broker.breaker import Breaker, BreakerState
from infra.broker.delivery import (
    KILLED,
    Attempts,
    DeadLetters,
    DeliveryPolicy,
    Done,
    Failed,
    Outcome,
    Retry,
    StoreDown,
)
from infra.broker.doorbell import Doorbell
from infra.broker.lanes import Batch, Entry, Lane, Lanes
from infra.broker.port import Broker, BrokerError, Delivery, Subscription, Topic
from infra.broker.preparation import Preparation
from infra.broker.tasks import Tasks
from infra.broker.turns import Turns
from infra.clock import Clock

# Only how often a consumer with nothing to do asks again.
_FETCH_WAIT_S: Final = 30.0


class Window:
    """Membership of a group in a topic, held for the `async with` block.

    Workers `take` or wait for a `next_batch`, and `settle` each delivery with its outcome. Windows may share
    a doorbell, which rings when there may be something to take, so that a worker can wait for any of them."""

    def __init__(
        self,
        broker: Broker,
        topic: Topic,
        group: str,
        *,
        policy: DeliveryPolicy,
        clock: Clock,
        attempts: Attempts,
        dead_letters: DeadLetters,
        doorbell: Doorbell | None = None,
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._group = group
        self._policy = policy
        self._clock = clock
        self._dead_letters = dead_letters
        self.doorbell = doorbell or Doorbell()
        self._settled = Doorbell()
        self._lanes = Lanes(keyed=topic.keyed, on_free=self._offer)
        self._ready: deque[Lane] = deque()
        self._turns = Turns(self._lanes, self._settled)
        self._tasks = Tasks(on_failure=self._ring)
        self._breaker = Breaker(policy.backoff, clock, self._tasks, on_probe=self._ring)
        self._preparation = Preparation(group, policy, attempts, self._breaker, self._turns)
        self._subscription: Subscription | None = None
        self._lost_meanwhile: set[int] = set()
        self._stopping = False

    async def __aenter__(self) -> Self:
        """Join the group. Raises BrokerUnavailable, and BrokerError when it can have no other member."""
        self._subscription = await self._broker.subscribe(self._topic, self._group, on_revoked=self._let_go)
        self._tasks.spawn(self._fetch(self._subscription))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the group. What is not settled is delivered to the next member."""
        self.stop()
        try:
            await self._tasks.close()
        finally:
            if self._subscription is not None:
                await self._subscription.close()

    @property
    def in_flight(self) -> int:
        return len(self._lanes)

    @property
    def breaker_state(self) -> BreakerState:
        return self._breaker.state

    def take(self, max_messages: int, max_bytes: int) -> list[Delivery]:
        """What may be handled now: at most so many messages and, after the first, so many bytes.

        On a keyed topic all are of one key and must be handled in order. Raises BrokerError when the window
        has failed and can hand out nothing any more."""
        if self._tasks.failure is not None:
            raise BrokerError(f"topic {self._topic.name} can't be consumed") from self._tasks.failure
        if not self._may_begin():
            return []
        alone = self._turns.alone is not None or self._breaker.is_probing
        batch = Batch(1 if alone else max_messages, max_bytes)
        while self._ready and batch.has_room_for(self._ready[0].head):
            lane = self._ready.popleft()
            batch.add(self._begin(lane))
            if self._topic.keyed:
                self._add_followers(batch, lane)
                break
        return batch.deliveries

    async def next_batch(self, max_messages: int, max_bytes: int) -> list[Delivery]:
        """`take`, once there is something; empty only when the window was stopped."""
        while True:
            rung = self.doorbell.listen()
            batch = self.take(max_messages, max_bytes)
            if batch or self._stopping:
                return batch
            await rung.wait()

    async def settle(self, deliveries: Sequence[Delivery], outcome: Outcome) -> None:
        """Say what became of deliveries that were taken, of a batch all at once or each on its own.

        Returns when the group's position, or the dead letters, have them; waits while these don't answer.
        """
        entries = [self._lanes.entry(delivery) for delivery in deliveries]
        match outcome:
            case Done():
                await self._finish(entries)
            case Retry(after_s):
                for entry in entries:
                    entry.retries += 1
                    self._put_back(
                        entry, self._policy.backoff.wait_s(entry.retries) if after_s is None else after_s
                    )
            case Failed(cause):
                for entry in entries:
                    await self._fail(entry, cause)
            case StoreDown():
                self._breaker.failed()
                for entry in entries:
                    self._put_back(entry, 0)
                return
        self._breaker.succeeded()
        self._ring()

    def stop(self) -> None:
        """Fetch and hand out nothing more. What is out can still be settled."""
        self._stopping = True
        self._ring()

    async def drain(self, timeout_s: float) -> bool:
        """Stop, and wait until all that is out is settled; False if that takes too long."""
        self.stop()
        try:
            async with asyncio.timeout(timeout_s):
                await self._turns.until_none_out()
        except TimeoutError:
            return False
        return True

    def _let_go(self, partitions: Collection[int]) -> None:
        if self._subscription is None:
            return
        self._lost_meanwhile.update(partitions)
        dropped = self._lanes.drop(partitions)
        for entry in dropped:
            self._turns.release(entry)
        self._ready = deque(lane for lane in self._ready if lane.offered)
        self._subscription.give_back([entry.delivery for entry in dropped])
        self._ring()

    async def _fetch(self, subscription: Subscription) -> None:
        while True:
            await self._until_room()
            self._lost_meanwhile.clear()
            # What arrives after `stop` is not handed out, and so goes to the next member.
            deliveries = await self._breaker.insist(
                lambda: subscription.fetch(
                    max_messages=self._policy.max_in_flight - len(self._lanes),
                    max_bytes=self._policy.max_bytes_in_flight - self._lanes.bytes,
                    wait_s=_FETCH_WAIT_S,
                )
            )
            for delivery in deliveries:
                if delivery.partition not in self._lost_meanwhile:
                    self._lanes.admit(delivery)
                else:  # it would be begun before what is of its key, was out and is given back only now
                    subscription.give_back([delivery])

    async def _until_room(self) -> None:
        while True:
            settled = self._settled.listen()
            is_full = len(self._lanes) >= self._policy.max_in_flight
            if not (is_full or self._stopping or self._lanes.bytes >= self._policy.max_bytes_in_flight):
                return
            await settled.wait()

    def _may_begin(self) -> bool:
        if self._stopping or not self._ready or not self._breaker.may_begin:
            return False
        alone = self._turns.alone
        return alone is None or (self._ready[0].head is alone and not self._lanes.out)

    def _begin(self, lane: Lane) -> Entry:
        entry = self._lanes.begin(lane)
        self._breaker.began()
        if not entry.counted:
            entry.attempts += 1
            entry.counted = True
        return entry

    def _add_followers(self, batch: Batch, lane: Lane) -> None:
        """More of the same key, as long as they need nothing before they begin."""
        while (
            lane.waiting
            and not batch.deliveries[0].redelivered
            and not self._preparation.is_needed(lane.head)
            and batch.has_room_for(lane.head)
        ):
            batch.add(self._begin(lane))

    def _offer(self, lane: Lane) -> None:
        if self._preparation.is_needed(lane.head):
            self._tasks.spawn(self._prepare(lane.head))
        else:
            self._ready.append(lane)
            self.doorbell.ring()

    async def _prepare(self, entry: Entry) -> None:
        may_begin = await self._preparation.make(entry)
        if entry.gone:
            # What it waited for came after its partition had gone.
            self._turns.release(entry)
        elif not may_begin:
            await self._give_up(entry, KILLED)
        elif self._turns.alone is entry:
            self._ready.appendleft(entry.lane)
        else:
            self._ready.append(entry.lane)
        self._ring()

    async def _finish(self, entries: Sequence[Entry]) -> None:
        if self._subscription is None:
            raise BrokerError("the window is not open")
        await self._breaker.insist(partial(self._subscription.done, [entry.delivery for entry in entries]))
        for entry in entries:
            self._turns.release(entry)
            if not entry.gone:
                self._lanes.remove(entry)
        self._ring()

    async def _fail(self, entry: Entry, cause: str) -> None:
        if entry.attempts >= self._policy.max_attempts:
            await self._give_up(entry, cause)
        else:
            entry.counted = False
            self._put_back(entry, self._policy.backoff.wait_s(entry.attempts))

    async def _give_up(self, entry: Entry, cause: str) -> None:
        await self._breaker.insist(partial(self._dead_letters.put, entry.delivery, cause, entry.attempts))
        await self._finish([entry])

    def _put_back(self, entry: Entry, wait_s: float) -> None:
        self._turns.release(entry)
        if self._subscription is not None and not self._subscription.holds(entry.delivery):
            self._lanes.remove(entry)
            self._subscription.give_back([entry.delivery])
        else:
            self._lanes.put_back(entry, park=wait_s > 0)
            if wait_s > 0:
                self._tasks.spawn(self._unpark(entry.lane, wait_s))
        self._ring()

    async def _unpark(self, lane: Lane, wait_s: float) -> None:
        await self._clock.sleep(wait_s)
        self._lanes.unpark(lane)

    def _ring(self) -> None:
        self._settled.ring()
        self.doorbell.ring()
