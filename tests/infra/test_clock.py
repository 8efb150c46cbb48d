import asyncio
from datetime import UTC, datetime, timedelta

from infra.clock import ManualClock, SystemClock


async def test_the_system_clock_is_aware_and_goes_on() -> None:
    clock = SystemClock()
    before_s = clock.monotonic_s()
    await clock.sleep(0)
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.monotonic_s() >= before_s


def test_a_manual_clock_moves_only_when_it_is_advanced() -> None:
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    clock.advance(90)
    assert clock.now() == datetime(2026, 3, 1, 0, 1, 30, tzinfo=UTC)
    assert clock.monotonic_s() == 90


async def test_a_sleeper_wakes_when_its_time_has_come_and_not_before() -> None:
    clock = ManualClock()
    woken: list[int] = []

    async def sleeper(duration_s: int) -> None:
        await clock.sleep(duration_s)
        woken.append(duration_s)

    async with asyncio.TaskGroup() as tasks:
        short, long = tasks.create_task(sleeper(10)), tasks.create_task(sleeper(20))
        await clock.until_sleeping(2)
        clock.advance(10)
        await short
        assert woken == [10]
        clock.advance(10)
        await long
    assert woken == [10, 20]


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(10))
    await clock.until_sleeping()
    task.cancel()
    await asyncio.wait([task])
    clock.advance(10)
    assert task.cancelled()
