"""What a group's member knows of one partition: how far it has read, and what it has not yet done."""

from dataclasses import dataclass, field


@dataclass(eq=False)
class Position:
    """A member's place. `in_flight`: the offsets handed out, lowest first, and which are done.

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
        return min(next(iter(self.in_flight), self.next_read), self.next_read)

    @property
    def begun_below(self) -> int:
        """Nothing from here on is with a handler or done."""
        return max(next(reversed(self.in_flight), -1) + 1, self.watermark)

    def hand_out(self, offset: int) -> bool:
        """Read the message at an offset; False if it is still in hand, or done and not yet below the
        watermark."""
        self.next_read = offset + 1
        is_new = offset not in self.in_flight
        if is_new:
            is_last = offset > next(reversed(self.in_flight), -1)
            self.in_flight[offset] = False
            if not is_last:
                self.in_flight = dict(sorted(self.in_flight.items()))
        self._forget_done()
        return is_new

    def finish(self, offset: int) -> None:
        """It is done. What is not in flight here is somebody else's by now."""
        if offset in self.in_flight:
            self.in_flight[offset] = True
            self._forget_done()

    def give_back(self, offset: int) -> None:
        """It is in flight no longer, and to be read again."""
        if not self.in_flight.get(offset, True):
            del self.in_flight[offset]
            self.next_read = min(self.next_read, offset)

    def take_up(self, committed: int, marked: int, redelivered_below: int) -> None:
        """Begin again where the group is by now. What is in flight here stays so: it is not read twice."""
        self.next_read = self.committed = committed
        self.marked = marked
        self.redelivered_below = redelivered_below
        self.in_flight = {offset: done for offset, done in self.in_flight.items() if offset >= committed}

    def _forget_done(self) -> None:
        while self.in_flight:
            first = next(iter(self.in_flight))
            if first >= self.next_read or not self.in_flight[first]:
                return
            del self.in_flight[first]
