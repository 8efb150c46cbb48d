"""What a member remembers of a partition, while it has it and after."""

from infra.broker.positions import Position


def handed_out(number: int) -> Position:
    position = Position(number=0, next_read=0, committed=0, marked=64, redelivered_below=0)
    assert all(position.hand_out(offset) for offset in range(number))
    return position


def test_the_watermark_is_the_first_that_is_not_done() -> None:
    position = handed_out(4)
    position.finish(2)
    position.finish(0)
    assert (position.watermark, position.begun_below) == (1, 4)
    position.finish(1)
    assert position.watermark == 3
    position.saved(3, 64)
    assert position.in_flight == {3: False}
    position.finish(3)
    assert position.watermark == 4


def test_what_is_given_back_is_read_again_and_nothing_else() -> None:
    position = handed_out(4)
    position.finish(1)
    for offset in (0, 1, 2):
        position.give_back(offset)
    assert (position.next_read, position.watermark) == (0, 0)
    assert [offset for offset in range(5) if position.hand_out(offset)] == [0, 2, 4]
    assert list(position.in_flight) == [0, 1, 2, 3, 4]


def test_what_ended_here_while_the_partition_was_away_is_not_begun_again() -> None:
    position = handed_out(3)
    position.finish(0)
    position.finish(1)
    position.finish(2)
    # It went before any of that was saved, and nobody else did any of it.
    position.take_up(committed=0, marked=3, redelivered_below=3)
    assert [offset for offset in range(4) if position.hand_out(offset)] == [3]
    assert position.watermark == 3


def test_what_others_have_done_meanwhile_is_forgotten() -> None:
    position = handed_out(5)
    position.finish(4)
    position.take_up(committed=3, marked=9, redelivered_below=7)
    assert position.in_flight == {3: False, 4: True}
    assert [offset for offset in range(3, 7) if position.hand_out(offset)] == [5, 6]
    # One that is somebody else's by now may end here, too.
    position.finish(1)
    assert position.watermark == 3
    assert position.begun_below == 7
