"""What is done from time to time goes on, whatever one round of it comes to, and is not done by everybody."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from infra.broker.doorbell import Doorbell
from infra.clock import ManualClock
from infra.documents.port import DocumentsUnavailable
from infra.repositories.turns import Turns
from infra.services import Services
from workers.chores import Chore, ChoreRunner

_PERIOD_S = 60


@dataclass
class Work:
    """A chore that counts its rounds, and raises what it is told to, once for each error."""

    errors: list[Exception] = field(default_factory=list[Exception])
    rounds: int = 0

    async def do(self) -> None:
        self.rounds += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@asynccontextmanager
async def done_by(services: Services, *chores: Chore) -> AsyncGenerator[None]:
    """The chores in this process until the end of the block, without jitter."""
    runner = ChoreRunner(services, chance=lambda: 0.5)
    tasks = [asyncio.create_task(runner.every(chore)) for chore in chores]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def pass_time(clock: ManualClock, duration_s: float, sleepers: int = 1) -> None:
    """Let time pass once all sleep, and wait until they sleep again."""
    await clock.until_sleeping(sleepers)
    clock.advance(duration_s)
    await clock.until_sleeping(sleepers)


async def test_a_chore_that_fails_is_told_of_by_name_and_tried_ever_less_often(
    services: Services, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, whole = Work([KeyError("a"), KeyError("b")]), Work()
    chores = [Chore("broken", _PERIOD_S, broken.do), Chore("whole", _PERIOD_S, whole.do)]
    async with done_by(services, *chores):
        seen: list[int] = []
        for _ in range(8):
            await pass_time(clock, _PERIOD_S, sleepers=2)
            seen.append(broken.rounds)
    assert whole.rounds == 8, "another chore's fault is no reason to stop"
    assert seen == [1, 1, 2, 2, 2, 2, 3, 4], "after one failure twice the time, after two four times"
    said = capsys.readouterr()
    assert (said.out + said.err).count("chore_failed") == 2
    assert "broken" in said.out + said.err


async def test_a_store_that_is_down_is_no_failure_of_the_chore(
    services: Services, clock: ManualClock
) -> None:
    work = Work([DocumentsUnavailable("down"), DocumentsUnavailable("down")])
    async with done_by(services, Chore("work", _PERIOD_S, work.do)):
        for _ in range(3):
            await pass_time(clock, _PERIOD_S)
    assert work.rounds == 3


async def test_of_many_processes_one_does_a_shared_chore_in_each_period(
    services: Services, clock: ManualClock
) -> None:
    work, own, passed_on = Work(), Work(), list[None]()
    shared = Chore("shared", _PERIOD_S, work.do, shared=True, passed_on=lambda: passed_on.append(None))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(done_by(services, shared, Chore("own", _PERIOD_S, own.do)))
        for _ in range(5):
            await pass_time(clock, _PERIOD_S, sleepers=8)
    assert (work.rounds, len(passed_on), own.rounds) == (5, 15, 20)


async def test_periods_differ_a_little_so_that_processes_do_not_come_together(services: Services) -> None:
    slept: list[float] = []

    class Counted(ManualClock):
        async def sleep(self, duration_s: float) -> None:
            slept.append(duration_s)
            if len(slept) == 2:
                raise asyncio.CancelledError

    chances = iter((0.0, 0.75))
    counted = replace(services, clock=Counted())
    runner = ChoreRunner(counted, chance=lambda: next(chances))
    with pytest.raises(asyncio.CancelledError):
        await runner.every(Chore("work", _PERIOD_S, Work().do))
    assert slept == [45, 67.5]


async def test_a_rung_chore_is_done_at_the_start_and_at_once_when_it_rings(services: Services) -> None:
    bell, work, done = Doorbell(), Work(), asyncio.Event()

    async def do() -> None:
        await work.do()
        done.set()

    chore = Chore("rung", _PERIOD_S, do, shared=True, bell=bell)
    task = asyncio.create_task(ChoreRunner(services).when_rung(chore, bell))
    for _ in range(3):
        await done.wait()
        done.clear()
        await asyncio.sleep(0)
        bell.ring()
    await done.wait()
    task.cancel()
    assert work.rounds == 4


async def test_a_turn_is_free_again_after_its_time_or_when_it_was_taken_by_a_wrong_clock(
    services: Services, clock: ManualClock
) -> None:
    turns = Turns(services.documents, clock)
    assert await turns.take("work", 30)
    assert not await turns.take("work", 30)
    assert await turns.take("other work", 30)
    clock.advance(30)
    taken = await asyncio.gather(*(turns.take("work", 30) for _ in range(8)))
    assert sum(taken) == 1
    behind = Turns(services.documents, ManualClock())
    clock.advance(3600)
    assert await turns.take("work", 30)
    assert await behind.take("work", 30), "an hour ahead is no turn but a fault"
