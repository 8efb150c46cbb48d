"""A store that answers nobody in time is left alone, and asked again by one at a time."""

from dataclasses import dataclass, field

import pytest

from infra.store_breaker import StoreBreaker, StoreLeftAlone, StoreState


@dataclass
class Store:
    """Answers, or lets everybody wait in vain."""

    now_s: float = 100.0
    silent: bool = False
    asked: int = 0
    breaker: StoreBreaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = StoreBreaker("store", monotonic_s=lambda: self.now_s)

    def ask(self) -> str:
        try:
            with self.breaker.call(lambda error: isinstance(error, TimeoutError)):
                self.asked += 1
                self._answer()
        except TimeoutError:
            return "waited"
        except StoreLeftAlone:
            return "at once"
        return "answered"

    def _answer(self) -> None:
        if self.silent:
            raise TimeoutError


def test_some_silences_in_a_row_and_it_is_left_alone() -> None:
    store = Store()
    assert store.ask() == "answered"
    store.silent = True
    assert [store.ask() for _ in range(6)] == ["waited"] * 3 + ["at once"] * 3
    assert (store.asked, store.breaker.state()) == (4, StoreState.LEFT_ALONE)


def test_an_answer_in_between_says_that_it_is_well() -> None:
    store = Store()
    for silent in (True, True, False, True, True):
        store.silent = silent
        store.ask()
    assert store.breaker.state() is StoreState.ASKED


def test_who_is_refused_knows_it_without_waiting() -> None:
    store = Store()
    for _ in range(5):
        with pytest.raises(ConnectionRefusedError), store.breaker.call(lambda _: False):
            raise ConnectionRefusedError
    assert store.breaker.state() is StoreState.ASKED


def test_once_a_second_one_finds_out_while_the_others_do_not_wait() -> None:
    store = Store(silent=True)
    for _ in range(3):
        store.ask()
    store.now_s += 1
    with store.breaker.call(lambda _: False):
        assert store.breaker.state() is StoreState.TRIED
        assert store.ask() == "at once"
    assert store.breaker.state() is StoreState.ASKED, "it was answered"
    for _ in range(3):
        store.ask()
    store.now_s += 1
    assert [store.ask(), store.ask()] == ["waited", "at once"]
    store.silent = False
    store.now_s += 1
    assert [store.ask(), store.ask()] == ["answered", "answered"]


def test_one_that_is_called_off_lets_another_try() -> None:
    store = Store(silent=True)
    for _ in range(3):
        store.ask()
    store.now_s += 1
    with pytest.raises(KeyboardInterrupt), store.breaker.call(lambda _: False):
        raise KeyboardInterrupt
    store.now_s += 1
    assert store.ask() == "waited"
