"""A group's membership in a topic of the embedded broker."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from infra.broker.doorbell import Doorbell
from infra.broker.partitions import partition_of
from infra.broker.port import BrokerError, BrokerUnavailable, Delivery, Subscription, Topic
from infra.broker.positions import Position
from infra.documents.fields import from_microseconds
from infra.sqlite import log
from infra.sqlite.errors import FileUnavailable
from infra.sqlite.file import SqliteFile
from infra.sqlite.log import GroupPosition, Span, StoredMessage

# How far a group has been handed out is marked ahead of time, so that a fetch seldom has to write. After a
# kill, so many messages of a partition at most are called redelivered although nobody had begun with them.
_MARK_AHEAD: Final = 64


@contextmanager
def broker_errors() -> Generator[None]:
    """The port's error for a file that can't be used."""
    try:
        yield
    except FileUnavailable as error:
        raise BrokerUnavailable(str(error)) from error


class TopicLog:
    """A topic's partitions and where they end, as far as is committed."""

    def __init__(self, topic: Topic, partitions: Sequence[tuple[int, int]]) -> None:
        self.topic = topic
        self.partition_ids = [partition_id for partition_id, _ in partitions]
        self.ends = dict(partitions)
        self.appended = Doorbell()

    def partition_of(self, key: bytes) -> int:
        return self.partition_ids[partition_of(key, len(self.partition_ids))]

    def extend(self, ends: dict[int, int]) -> None:
        self.ends.update(ends)
        self.appended.ring()


class SqliteSubscription(Subscription):
    """Keeps in memory what is handed out; writes down what is done, and up to where it may have been begun.

    Cancelling `fetch` loses nothing: what it had read and not returned is read again.
    """

    def __init__(self, file: SqliteFile, of: TopicLog, group: str, on_close: Callable[[], object]) -> None:
        self._file = file
        self._of = of
        self._group = group
        self._on_close = on_close
        self._partitions: dict[int, Position] = {}
        self._turn = 0
        self._closed = False

    async def join(self) -> None:
        """Take up the group's positions."""
        ids = self._of.partition_ids
        with broker_errors():
            positions = await self._file.write(
                lambda connection: log.join_group(connection, self._group, ids), synced=True
            )
        for number, partition_id in enumerate(ids):
            position = positions[partition_id]
            self._partitions[partition_id] = Position(
                number=number,
                next_read=position.next_offset,
                committed=position.next_offset,
                marked=position.handed_out,
                redelivered_below=min(position.handed_out, self._of.ends[partition_id]),
            )

    async def fetch(self, *, max_messages: int, max_bytes: int, wait_s: float) -> list[Delivery]:
        until = asyncio.get_running_loop().time() + wait_s
        while True:
            appended = self._of.appended.listen()
            while (deliveries := await self._take(max_messages, max_bytes)) is not None:
                if deliveries:
                    return deliveries
            try:
                async with asyncio.timeout_at(until):
                    await appended.wait()
            except TimeoutError:
                return []

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        self._check_open()
        ids = self._of.partition_ids
        for delivery in deliveries:
            self._partitions[ids[delivery.partition]].finish(delivery.offset)
        moved = {
            partition_id: GroupPosition(partition.watermark, partition.next_read + _MARK_AHEAD)
            for partition_id, partition in self._partitions.items()
            if partition.watermark > partition.committed
        }
        if moved:
            await self._save(moved)

    def holds(self, delivery: Delivery) -> bool:
        """Always: there is no other member."""
        return True

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._partitions[self._of.partition_ids[delivery.partition]].give_back(delivery.offset)
        self._of.appended.ring()

    async def close(self) -> None:
        """Where the store can't be written the next member is told that more was begun than there was."""
        if self._closed:
            return
        self._closed = True
        self._on_close()
        self._of.appended.ring()
        positions = {
            partition_id: GroupPosition(partition.watermark, partition.next_read)
            for partition_id, partition in self._partitions.items()
        }
        try:
            await self._file.write(
                lambda connection: log.leave_group(connection, self._group, positions), synced=False
            )
        except FileUnavailable:
            return

    async def _take(self, max_messages: int, max_bytes: int) -> list[Delivery] | None:
        """None when there is nothing to read; empty when what there was is dropped, or still in hand."""
        self._check_open()
        spans = self._unread()
        if not spans:
            return None
        with broker_errors():
            stored = await self._file.read(
                lambda connection: log.read(connection, spans, max_messages, max_bytes)
            )
        await self._mark(stored)
        self._check_open()
        return self._hand_out(spans, stored)

    def _unread(self) -> list[Span]:
        """What lies in the log and was not handed out, beginning with another partition each time."""
        spans = [
            Span(partition_id, partition.next_read, self._of.ends[partition_id])
            for partition_id, partition in self._partitions.items()
            if partition.next_read < self._of.ends[partition_id]
        ]
        self._turn += 1
        first = self._turn % max(len(spans), 1)
        return spans[first:] + spans[:first]

    async def _mark(self, stored: Sequence[StoredMessage]) -> None:
        """Before messages beyond the mark are handed out, move it: whoever comes after a kill must know."""
        beyond = {
            message.partition_id: GroupPosition(0, message.offset + 1 + _MARK_AHEAD)
            for message in stored
            if message.offset >= self._partitions[message.partition_id].marked
        }
        if beyond:
            await self._save(beyond)

    async def _save(self, positions: dict[int, GroupPosition]) -> None:
        # Not synced: what a power failure forgets is delivered again, which a group has to bear anyway.
        with broker_errors():
            await self._file.write(
                lambda connection: log.save_positions(connection, self._group, positions), synced=False
            )
        for partition_id, position in positions.items():
            partition = self._partitions[partition_id]
            partition.saved(
                max(partition.committed, position.next_offset), max(partition.marked, position.handed_out)
            )

    def _hand_out(self, spans: Sequence[Span], stored: Sequence[StoredMessage]) -> list[Delivery]:
        # Where something was given back meanwhile, it is read from there on instead.
        valid = {
            span.partition_id: span
            for span in spans
            if self._partitions[span.partition_id].next_read == span.start
        }
        if not stored:
            # Everything there was past its retention and has been dropped.
            for span in valid.values():
                self._partitions[span.partition_id].next_read = span.end
        return [
            self._delivery(message)
            for message in stored
            if message.partition_id in valid
            and self._partitions[message.partition_id].hand_out(message.offset)
        ]

    def _delivery(self, message: StoredMessage) -> Delivery:
        partition = self._partitions[message.partition_id]
        return Delivery(
            topic=self._of.topic.name,
            partition=partition.number,
            offset=message.offset,
            key=message.key,
            value=message.value,
            appended_at=from_microseconds(message.appended_at),
            redelivered=message.offset < partition.redelivered_below,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerError(f"this member of group {self._group} has left")
