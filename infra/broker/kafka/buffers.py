"""Records that were read from Kafka and not handed out yet."""

from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

from infra.broker.kafka.client import Record


def size_of(record: Record) -> int:
    return len(record.key or b"") + len(record.value or b"")


class Buffers:
    """The records by partition, in order. Handing them out begins with another partition each time."""

    def __init__(self) -> None:
        self._records: Final[dict[int, deque[Record]]] = {}
        self._turn = 0
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self._records)

    def add(self, number: int, records: Iterable[Record]) -> None:
        for record in records:
            self._records.setdefault(number, deque()).append(record)
            self.bytes += size_of(record)

    def drop(self, numbers: Collection[int]) -> None:
        for number in numbers:
            for record in self._records.pop(number, ()):
                self.bytes -= size_of(record)

    def choose(self, max_messages: int, max_bytes: int) -> list[Record]:
        """The next ones, of each partition in turn: so many and, after the first, of so many bytes. They
        stay."""
        numbers = list(self._records)
        self._turn += 1
        first = self._turn % max(len(numbers), 1)
        cursors = [iter(self._records[number]) for number in numbers[first:] + numbers[:first]]
        chosen: list[Record] = []
        size = 0
        while cursors and len(chosen) < max_messages:
            cursor = cursors.pop(0)
            record = next(cursor, None)
            if record is None:
                continue
            size += size_of(record)
            if chosen and size > max_bytes:
                break
            chosen.append(record)
            cursors.append(cursor)
        return chosen

    def take(self, record: Record) -> bool:
        """Take out the first of its partition; False if that is another one by now."""
        records = self._records.get(record.partition)
        if not records or records[0] is not record:
            return False
        records.popleft()
        if not records:
            del self._records[record.partition]
        self.bytes -= size_of(record)
        return True
