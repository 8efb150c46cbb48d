"""Coming up beside stores that are not up yet."""

import asyncio
from typing import Any

import pytest
import structlog

from infra.broker.port import BrokerUnavailable
from infra.clock import ManualClock
from infra.refused import StoreRefused
from infra.starting import started


class Store:
    """Fails as often as it has errors left."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.starts = 0

    async def start(self) -> None:
        self.starts += 1
        if self.errors:
            raise self.errors.pop(0)


async def test_a_store_that_comes_up_later_is_waited_for_and_said_once_a_minute() -> None:
    clock, store = ManualClock(), Store(*[BrokerUnavailable("broker.example: no answer")] * 12)
    with structlog.testing.capture_logs() as lines:
        starting = asyncio.create_task(started("broker", store.start, clock))
        while not starting.done():
            sleeping = asyncio.create_task(clock.until_sleeping())
            await asyncio.wait((sleeping, starting), return_when=asyncio.FIRST_COMPLETED)
            sleeping.cancel()
            clock.advance(10)
        await starting
    assert store.starts == 13
    told: list[tuple[Any, ...]] = [(line["event"], line.get("reason"), line["role"]) for line in lines]
    assert told == [
        *[("waiting_for_store", "broker.example: no answer", "broker")] * 2,
        ("store_answers", None, "broker"),
    ]


async def test_what_no_waiting_mends_is_raised_at_once() -> None:
    store = Store(StoreRefused("wrong password"))
    with pytest.raises(StoreRefused, match="wrong password"):
        await started("documents", store.start, ManualClock())
    assert store.starts == 1


async def test_a_store_that_answers_at_once_is_not_worth_a_line() -> None:
    with structlog.testing.capture_logs() as lines:
        await started("objects", Store().start, ManualClock())
    assert lines == []
