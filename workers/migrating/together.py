"""Doing many small things a few at a time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def few_at_a_time(work: Callable[[T], Awaitable[object]], items: Sequence[T], at_once: int) -> None:
    """Do it for each. All that was begun comes to its end before an error is raised, so that nothing is
    written any more afterwards."""
    for start in range(0, len(items), at_once):
        outcomes = await asyncio.gather(
            *(work(item) for item in items[start : start + at_once]), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome


async def in_pages(items: AsyncIterator[T], size: int) -> AsyncGenerator[Sequence[T]]:
    """What comes one by one, so many at a time."""
    page: list[T] = []
    async for item in items:
        page.append(item)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
