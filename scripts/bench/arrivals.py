"""How load is offered: by an open loop, a closed one, and a ramp of closed ones that finds the capacity.

In an open loop calls begin when they are due, whether or not those before have been answered, and are timed
from when they were due: a service that stalls is so charged for everybody who would have come meanwhile.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Final, Protocol, TypeVar

import numpy as np

T = TypeVar("T")

_WORTH_IT: Final = 1.05
"""A doubling of what is under way that gains less than this has gained nothing."""


class Rated(Protocol):
    """What a step of the ramp came to."""

    @property
    def a_second(self) -> float: ...


L = TypeVar("L", bound=Rated)


def poisson_arrivals(seed: int, a_second: float, for_s: float) -> list[float]:
    """When each call is due, in seconds from the start: independent arrivals at this mean rate."""
    rng = np.random.default_rng(seed)
    due_s: list[float] = []
    at_s = rng.exponential(1 / a_second)
    while at_s < for_s:
        due_s.append(float(at_s))
        at_s += rng.exponential(1 / a_second)
    return due_s


async def open_loop(due_s: Sequence[float], call: Callable[[int], Awaitable[T]]) -> list[tuple[T, float]]:
    """Make each call when it is due; answers and milliseconds since each was due, in order."""
    started_s = time.perf_counter()

    async def one(number: int) -> tuple[T, float]:
        answer = await call(number)
        return answer, (time.perf_counter() - started_s - due_s[number]) * 1000

    tasks: list[asyncio.Task[tuple[T, float]]] = []
    async with _together() as group:
        for number, due in enumerate(due_s):
            await asyncio.sleep(max(0.0, started_s + due - time.perf_counter()))
            tasks.append(group.create_task(one(number)))
    return [task.result() for task in tasks]


async def closed_loop(
    at_once: int, call: Callable[[int], Awaitable[T]], *, for_s: float, most: int | None = None
) -> tuple[list[T], float]:
    """Keep `at_once` calls under way for so long, or until `most` were made; the answers, and the seconds
    until the last of them."""
    numbers = iter(count() if most is None else range(most))
    answers: list[T] = []
    started_s = time.perf_counter()

    async def caller() -> None:
        while time.perf_counter() - started_s < for_s and (number := next(numbers, None)) is not None:
            answers.append(await call(number))

    async with _together() as group:
        for _ in range(at_once):
            group.create_task(caller())
    return answers, time.perf_counter() - started_s


async def ramp(level: Callable[[int], Awaitable[L]], *, most: int) -> list[L]:
    """Steps with 1, 2, 4 … under way at once, `most` in the end, until two doublings in a row have gained
    nothing (one alone may be chance). The best of them is what the service can do."""
    levels: list[L] = []
    best, in_vain, at_once = 0.0, 0, 1
    while at_once <= most and in_vain < 2:
        levels.append(await level(at_once))
        in_vain = 0 if levels[-1].a_second > best * _WORTH_IT else in_vain + 1
        best = max(best, levels[-1].a_second)
        at_once *= 2
    return levels


@asynccontextmanager
async def _together() -> AsyncGenerator[asyncio.TaskGroup]:
    """A task group whose first error is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
