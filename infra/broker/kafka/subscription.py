"""A membership of a group on Kafka: what is handed out, what is done, and what becomes of both when
partitions go and come.

How far a partition may have been handed out is written, ahead of time, into the metadata of its group's
position; so the next member knows what somebody may have begun with, and a clean hand-over tells exactly.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

from infra.broker.kafka.buffers import Buffers
from infra.broker.kafka.client import (
    Consumer,
    NotAMember,
    Rebalances,
    Record,
    TopicPartition,
    answering,
    is_dead,
    stop_consumer,
)
from infra.broker.kafka.places import Places, appended_at
from infra.broker.port import BrokerError, Delivery, OnRevoked, Subscription
from infra.broker.positions import Position

# As with the embedded log: after a kill, so many messages of a partition at most are called redelivered
# although nobody had begun with them.
_MARK_AHEAD: Final = 64

_BUFFER_BYTES: Final = 16 * 2**20
_JOIN_S: Final = 30.0
_COMMIT_S: Final = 5.0
# While a rebalance waits for us: less than others' patience.
_HAND_OVER_S: Final = 2.0


class KafkaSubscription(Subscription):
    """One consumer, in a group of its own topic.

    Cancelling `fetch` loses nothing: what was read and not handed out stays in the buffers.
    """

    def __init__(
        self,
        topic: str,
        name: str,
        group: str,
        new_consumer: Callable[[], Consumer],
        places: Places,
        on_revoked: OnRevoked | None,
        on_close: Callable[["KafkaSubscription"], object],
    ) -> None:
        """`topic` is what we call it, `name` and `group` what Kafka does."""
        self._topic = topic
        self._name = name
        self._group = group
        self._new_consumer = new_consumer
        self._places = places
        self._on_revoked = on_revoked
        self._on_close = on_close
        self._consumer: Consumer | None = None
        self._positions: dict[int, Position] = {}
        self._held: set[int] = set()
        # Held, and where the group is in them is not known yet.
        self._untaken: set[int] = set()
        self._assignment = 0
        self._buffers = Buffers()
        self._saving = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._closed = False

    async def join(self) -> None:
        """Become a member, and wait for the first partitions. Raises BrokerUnavailable."""
        await self._member()

    async def fetch(self, *, max_messages: int, max_bytes: int, wait_s: float) -> list[Delivery]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            self._check_open()
            consumer = await self._member()
            await self._take_up()
            # What was not handed out again because it was done here while its partition was away.
            await self._save()
            await self._read(consumer, until)
            self._check_open()
            chosen = self._buffers.choose(max_messages, max_bytes)
            if chosen:
                await self._mark(chosen)
                if deliveries := self._hand_out(chosen):
                    return deliveries
            elif loop.time() >= until:
                return []

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        self._check_open()
        for delivery in deliveries:
            self._positions[delivery.partition].finish(delivery.offset)
        await self._save()

    def holds(self, delivery: Delivery) -> bool:
        return delivery.partition in self._held

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._positions[delivery.partition].give_back(delivery.offset)
        for number in {delivery.partition for delivery in deliveries} & self._held:
            self._rewind(number)

    async def close(self) -> None:
        """Where Kafka can't be written the next member is told that more was begun than there was."""
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        consumer = self._consumer
        if consumer is not None:
            await self._hand_over(self._held - self._untaken)
            await stop_consumer(consumer)

    async def _member(self) -> Consumer:
        """The consumer; another one if it has failed for good."""
        if self._consumer is not None:
            if not is_dead(self._consumer):
                return self._consumer
            dead, self._consumer = self._consumer, None
            self._lose(self._held.copy())
            await stop_consumer(dead)
        consumer = self._consumer = self._new_consumer()
        consumer.subscribe([self._name], listener=Rebalances(self._revoked, self._assigned))
        try:
            async with answering("let us join a group", _JOIN_S):
                await consumer.start()
        except BaseException:
            self._consumer = None
            await stop_consumer(consumer)
            raise
        return consumer

    async def _assigned(self, numbers: Collection[int]) -> None:
        self._assignment += 1
        self._held, self._untaken = set(numbers), set(numbers)
        # Otherwise `fetch` tries again, and tells.
        with suppress(BrokerError):
            await self._take_up()

    async def _revoked(self, numbers: Collection[int]) -> None:
        lost = self._held.intersection(numbers)
        known = lost - self._untaken
        self._lose(lost)
        await self._hand_over(known)

    def _lose(self, numbers: Collection[int]) -> None:
        """From here on they are not ours: what has not begun is given back, what has goes on."""
        self._assignment += 1
        self._held.difference_update(numbers)
        self._untaken.difference_update(numbers)
        self._buffers.drop(numbers)
        if numbers and self._on_revoked is not None:
            self._on_revoked(numbers)

    async def _take_up(self) -> None:
        """Begin where the group is, in partitions that have come."""
        async with self._taking:
            assignment, numbers = self._assignment, sorted(self._untaken)
            if not numbers:
                return
            places = await self._places.of_group(self._group, self._name, numbers)
            if assignment != self._assignment:
                return
            for number, place in places.items():
                position = self._positions.setdefault(number, Position(number, 0, 0, 0, 0))
                position.take_up(place.committed, place.marked, min(place.marked, place.end))
                self._rewind(number)
            self._untaken.difference_update(numbers)

    def _rewind(self, number: int) -> None:
        self._buffers.drop([number])
        if self._consumer is not None:
            self._consumer.seek(TopicPartition(self._name, number), self._positions[number].next_read)

    async def _read(self, consumer: Consumer, until: float) -> None:
        """Fill the buffers; wait if there is nothing in them."""
        loop = asyncio.get_running_loop()
        wait_s = 0.0 if self._buffers else max(until - loop.time(), 0.0)
        if self._buffers.bytes >= _BUFFER_BYTES:
            return
        try:
            # While partitions are assigned anew it would wait for longer than it is told.
            async with asyncio.timeout(wait_s), answering("give messages", wait_s + _COMMIT_S):
                read = await consumer.getmany(timeout_ms=int(wait_s * 1000))
        except TimeoutError:
            return
        for place, records in read.items():
            # Where a partition was read before it was known from where on, it is read again.
            if place.partition in self._held - self._untaken:
                self._buffers.add(place.partition, records)

    async def _mark(self, chosen: Sequence[Record]) -> None:
        """Before messages beyond the mark are handed out, move it: whoever comes after a kill must know."""
        ahead: dict[int, int] = {}
        for record in chosen:
            position = self._positions[record.partition]
            if record.offset >= position.marked:
                ahead[record.partition] = record.offset + 1 + _MARK_AHEAD
        if ahead:
            await self._save(ahead)

    def _hand_out(self, chosen: Sequence[Record]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for record in chosen:
            # Its partition may have gone since it was chosen.
            if self._buffers.take(record):
                position = self._positions[record.partition]
                if position.hand_out(record.offset):
                    deliveries.append(self._delivery(record, position.redelivered_below))
        return deliveries

    def _delivery(self, record: Record, redelivered_below: int) -> Delivery:
        return Delivery(
            topic=self._topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key or b"",
            value=record.value or b"",
            appended_at=appended_at(record.timestamp),
            redelivered=record.offset < redelivered_below,
        )

    async def _save(self, ahead: Mapping[int, int] | None = None) -> None:
        """Write down what is done of what is ours, and marks. Callers that wait share a commit."""
        marks = ahead or {}
        if not self._unsaved(marks):
            return
        async with answering("take a group's position", _COMMIT_S), self._saving:
            await self._commit(self._unsaved(marks))

    def _unsaved(self, marks: Mapping[int, int]) -> dict[int, tuple[int, int]]:
        unsaved: dict[int, tuple[int, int]] = {}
        for number in self._held - self._untaken:
            position = self._positions[number]
            mark = marks.get(number, 0)
            if position.watermark > position.committed or mark > position.marked:
                ahead = max(position.marked, mark, position.next_read + _MARK_AHEAD)
                unsaved[number] = (position.watermark, ahead)
        return unsaved

    async def _hand_over(self, numbers: Collection[int]) -> None:
        """Write down how far these were handed out, exactly; what can't be written is less exact."""
        with suppress(BrokerError):
            async with answering("take a group's position", _HAND_OVER_S), self._saving:
                positions = {number: self._positions[number] for number in numbers}
                await self._commit({n: (p.watermark, p.begun_below) for n, p in positions.items()})

    async def _commit(self, offsets: Mapping[int, tuple[int, int]]) -> None:
        if not offsets or self._consumer is None:
            return
        assignment = self._assignment
        try:
            await self._consumer.commit(
                {TopicPartition(self._name, n): (at, str(mark)) for n, (at, mark) in offsets.items()}
            )
        except NotAMember:
            # Others have the partitions by now. Should they come back, this is noted.
            return
        if assignment == self._assignment:
            for number, (at, mark) in offsets.items():
                self._positions[number].saved(at, mark)

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerError(f"this member of group {self._group} has left")
