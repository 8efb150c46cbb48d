"""Which deliveries must wait for which: bookkeeping alone, nothing here waits or does I/O."""

from bisect import insort
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from infra.broker.port import Delivery


@dataclass(eq=False)
class Entry:
    """A delivery in flight. `attempts` are those begun so far, with this one once it is `counted`. `gone`:
    it was dropped before it began."""

    delivery: Delivery
    lane: "Lane"
    attempts: int = 0
    counted: bool = False
    retries: int = 0
    out: bool = False
    gone: bool = False

    @property
    def size_bytes(self) -> int:
        return len(self.delivery.key) + len(self.delivery.value)


@dataclass(eq=False)
class Lane:
    """Deliveries that must follow one another: those of a key or, on a topic without keys, a single one."""

    key: object
    waiting: list[Entry] = field(default_factory=list[Entry])
    out: int = 0
    parked: int = 0
    offered: bool = False

    @property
    def head(self) -> Entry:
        return self.waiting[0]

    @property
    def is_free(self) -> bool:
        return bool(self.waiting) and not (self.out or self.parked or self.offered)


class Lanes:
    """The deliveries in flight. `on_free` is told of a lane whose first one may be handed out, once."""

    def __init__(self, *, keyed: bool, on_free: Callable[[Lane], None]) -> None:
        self._keyed = keyed
        self._on_free = on_free
        self._lanes: dict[object, Lane] = {}
        self._entries: dict[tuple[int, int], Entry] = {}
        self.bytes = 0
        self.out = 0
        """How many are with handlers."""

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, delivery: Delivery) -> Entry:
        """Raises KeyError for a delivery that is not in flight."""
        return self._entries[delivery.partition, delivery.offset]

    def admit(self, delivery: Delivery) -> None:
        place = (delivery.partition, delivery.offset)
        key = delivery.key if self._keyed else place
        lane = self._lanes.setdefault(key, Lane(key))
        entry = Entry(delivery, lane)
        lane.waiting.append(entry)
        self._entries[place] = entry
        self.bytes += entry.size_bytes
        self._offer(lane)

    def begin(self, lane: Lane) -> Entry:
        """Hand out the first one."""
        entry = lane.waiting.pop(0)
        entry.out = True
        lane.offered = False
        lane.out += 1
        self.out += 1
        return entry

    def put_back(self, entry: Entry, *, park: bool) -> None:
        """It is to be tried again, in its old place; parked, its lane waits for `unpark`."""
        lane = entry.lane
        self._take_in(entry)
        insort(lane.waiting, entry, key=lambda waiting: waiting.delivery.offset)
        lane.parked += park
        self._offer(lane)

    def unpark(self, lane: Lane) -> None:
        lane.parked -= 1
        self._go_on(lane)

    def drop(self, partitions: Collection[int]) -> list[Entry]:
        """Leave out what has not begun of these partitions, and answer it."""
        dropped = [
            entry
            for entry in self._entries.values()
            if not entry.out and entry.delivery.partition in partitions
        ]
        for entry in dropped:
            entry.gone = True
            entry.lane.waiting.remove(entry)
            entry.lane.offered = False
            self._forget(entry)
        for lane in {entry.lane for entry in dropped}:
            self._go_on(lane)
        return dropped

    def remove(self, entry: Entry) -> None:
        """It is dealt with: handed out before, or the first of an offered lane."""
        lane = entry.lane
        if entry.out:
            self._take_in(entry)
        else:
            lane.waiting.remove(entry)
            lane.offered = False
        self._forget(entry)
        self._go_on(lane)

    def _forget(self, entry: Entry) -> None:
        del self._entries[entry.delivery.partition, entry.delivery.offset]
        self.bytes -= entry.size_bytes

    def _go_on(self, lane: Lane) -> None:
        if lane.waiting or lane.out or lane.parked:
            self._offer(lane)
        else:
            del self._lanes[lane.key]

    def _take_in(self, entry: Entry) -> None:
        entry.out = False
        entry.lane.out -= 1
        self.out -= 1

    def _offer(self, lane: Lane) -> None:
        if lane.is_free:
            lane.offered = True
            self._on_free(lane)


class Batch:
    """Deliveries up to a number and, after the first, up to a size."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.deliveries: list[Delivery] = []
        self._messages_left = max_messages
        self._bytes_left = max_bytes

    def has_room_for(self, entry: Entry) -> bool:
        fits = not self.deliveries or entry.size_bytes <= self._bytes_left
        return self._messages_left > 0 and fits

    def add(self, entry: Entry) -> None:
        self.deliveries.append(entry.delivery)
        self._messages_left -= 1
        self._bytes_left -= entry.size_bytes
