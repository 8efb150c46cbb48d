"""Where groups and topics are, asked without being a member of anything."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from infra.broker.kafka.client import (
    Admin,
    Consumer,
    TopicPartition,
    answering,
    new_admin,
    new_reader,
    stop_consumer,
)
from infra.broker.kafka.topics import partition_counts
from infra.broker.port import BrokerUnavailable, Lag
from infra.documents.fields import from_microseconds

_ASK_S: Final = 5.0
# How much of a partition is read to see its first message; what is larger comes alone.
_PEEK_BYTES: Final = 2**16


@dataclass(frozen=True)
class Place:
    """Of a partition: all below `committed` is done by the group, nothing from `marked` on was begun with;
    `end` is where the next message goes."""

    committed: int
    marked: int
    end: int


def appended_at(timestamp_ms: int) -> datetime:
    return from_microseconds(timestamp_ms * 1000)


class Places:
    """Asks the cluster. Connects when it is first asked."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._admin: Admin | None = None
        self._readers: dict[str, Consumer] = {}
        self._connecting = asyncio.Lock()
        self._peek_turn = asyncio.Lock()
        self._oldest: dict[TopicPartition, tuple[int, datetime]] = {}

    async def close(self) -> None:
        if self._admin is not None:
            await self._admin.close()
        for reader in self._readers.values():
            await stop_consumer(reader)

    async def admin(self) -> Admin:
        async with self._connecting:
            if self._admin is None:
                admin = new_admin(self._options)
                try:
                    await admin.start()
                except BaseException:
                    await admin.close()
                    raise
                self._admin = admin
            return self._admin

    async def of_group(self, group: str, topic: str, numbers: Sequence[int]) -> dict[int, Place]:
        """Where a group is in partitions of a topic. It begins with the oldest message there is."""
        places = [TopicPartition(topic, number) for number in numbers]
        async with answering("tell a group's position", _ASK_S):
            committed = await (await self.admin()).list_consumer_group_offsets(group, partitions=places)
            offsets = await self._reader("offsets")
            starts, ends = await asyncio.gather(
                offsets.beginning_offsets(places), offsets.end_offsets(places)
            )
        if any(place not in committed for place in places):
            # A coordinator that has just come up answers nothing, without an error.
            raise BrokerUnavailable("Kafka did not tell a group's position: it is being loaded")
        found: dict[int, Place] = {}
        for place in places:
            at, start = committed[place], starts[place]
            below = max(at.offset, start)
            marked = int(at.metadata) if at.metadata.isdecimal() else below
            found[place.partition] = Place(below, max(marked, below), ends[place])
        return found

    async def lag(self, group: str, topic: str) -> Lag:
        """What a group has not consumed of a topic."""
        async with answering("tell a topic's partitions", _ASK_S):
            numbers = range((await partition_counts(await self.admin()))[topic])
        places = await self.of_group(group, topic, numbers)
        behind = {
            TopicPartition(topic, number): place.committed
            for number, place in places.items()
            if place.committed < place.end
        }
        messages = sum(place.end - place.committed for place in places.values())
        consumed = sum(place.committed for place in places.values())
        if not behind:
            return Lag(messages, None, consumed)
        unknown = {place: at for place, at in behind.items() if self._oldest.get(place, (-1,))[0] != at}
        if unknown:
            async with answering("show the oldest messages", _ASK_S), self._peek_turn:
                for place, appended in (await self._peek(unknown)).items():
                    self._oldest[place] = (unknown[place], appended)
        return Lag(messages, min(self._oldest[place][1] for place in behind), consumed)

    async def _peek(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, datetime]:
        """When the messages at these offsets were appended."""
        reader, seen = await self._reader("peeking"), dict[TopicPartition, datetime]()
        reader.assign(list(offsets))
        for place, offset in offsets.items():
            reader.seek(place, offset)
        while len(seen) < len(offsets):
            for place, records in (await reader.getmany(timeout_ms=1000)).items():
                seen.setdefault(place, appended_at(records[0].timestamp))
                reader.pause(place)
        return seen

    async def _reader(self, purpose: str) -> Consumer:
        """One that asks for offsets and one that peeks: assigning topics, it forgets where others lie."""
        async with self._connecting:
            reader = self._readers.get(purpose)
            if reader is None:
                reader = new_reader(self._options, at="earliest", chunk_bytes=_PEEK_BYTES)
                try:
                    await reader.start()
                except BaseException:
                    await stop_consumer(reader)
                    raise
                self._readers[purpose] = reader
            return reader
