"""What a group's member knows of one partition: how far it has read, and what it has not yet done."""

from dataclasses import dataclass, field


@dataclass(eq=False)
class Position:
    """A member's place. `in_flight`: the offsets handed out, lowest first, and which are done; those are kept
    until the store has them, as the partition may go before, and come back.

    `committed` and `marked` are what the store has: below the one all is done, from the other on nothing was
    begun with.
    """

    number: int
    next_read: int
    committed: int
    marked: int
    redelivered_below: int
    in_flight: dict[int, bool] = field(default_factory=dict[int, bool])

    @property
    def watermark(self) -> int:
        """Everything below is done."""
        first = next((offset for offset, done in self.in_flight.items() if not done), self.next_read)
        return min(first, self.next_read)

    @property
    def begun_below(self) -> int:
        """Nothing from here on is with a handler or done."""
        return max(next(reversed(self.in_flight), -1) + 1, self.watermark)

    def hand_out(self, offset: int) -> bool:
        """Read the message at an offset; False if it is in hand here, or done."""
        self.next_read = offset + 1
        if offset in self.in_flight:
            return False
        is_last = offset > next(reversed(self.in_flight), -1)
        self.in_flight[offset] = False
        if not is_last:
            self.in_flight = dict(sorted(self.in_flight.items()))
        return True

    def finish(self, offset: int) -> None:
        """It is done. What is not in flight here is somebody else's by now."""
        if offset in self.in_flight:
            self.in_flight[offset] = True

    def give_back(self, offset: int) -> None:
        """It is in flight no longer, and to be read again."""
        if not self.in_flight.get(offset, True):
            del self.in_flight[offset]
            self.next_read = min(self.next_read, offset)

    def saved(self, committed: int, marked: int) -> None:
        """The store has these."""
        self.committed = committed
        self.marked = marked
        while (first := next(iter(self.in_flight), committed)) < committed:
            del self.in_flight[first]

    def take_up(self, committed: int, marked: int, redelivered_below: int) -> None:
        """Begin again where the group is by now. What is in flight here stays so: it is not read twice."""
        self.next_read = committed
        self.redelivered_below = redelivered_below
        self.saved(committed, marked)
