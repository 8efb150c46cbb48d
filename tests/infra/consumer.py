"""A worker that handles one message at a time, several of them side by side."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from infra.broker.delivery import Done, Failed, Outcome, outcome_of
from infra.broker.port import Delivery
from infra.broker.window import Window
from infra.telemetry import get_logger

Handler = Callable[[Delivery], Awaitable[None]]
"""Returns when what came of a message is saved. What it may raise: `infra.broker.delivery.outcome_of`."""

_log = get_logger(__name__)

# A batch of one is handed out at whatever size.
_ANY_SIZE: Final = 0


class Consumer:
    """Feeds a handler from a window. A worker that batches, or serves several topics, uses windows itself."""

    def __init__(self, window: Window, handler: Handler, *, concurrency: int) -> None:
        self._window = window
        self._handler = handler
        self._concurrency = concurrency
        self._workers: list[asyncio.Task[None]] = []
        self._left = asyncio.Event()
        self._left.set()

    async def run(self) -> None:
        """Consume until cancelled or drained. Raises what makes it impossible to go on."""
        self._left.clear()
        try:
            async with self._window, asyncio.TaskGroup() as group:
                self._workers = [group.create_task(self._work()) for _ in range(self._concurrency)]
        finally:
            self._left.set()

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more, finish what is in hand, leave the group.

        What takes longer is cut off, and delivered to the next member.
        """
        if not (self._left.is_set() or await self._window.drain(timeout_s)):
            for worker in self._workers:
                worker.cancel()
        await self._left.wait()

    async def _work(self) -> None:
        while batch := await self._window.next_batch(1, _ANY_SIZE):
            await self._window.settle(batch, await self._handle(batch[0]))

    async def _handle(self, delivery: Delivery) -> Outcome:
        try:
            await self._handler(delivery)
        except Exception as error:  # noqa: BLE001 - a message must not end the consumer: this one's attempts run out
            outcome = outcome_of(error)
            if isinstance(outcome, Failed):
                _log.warning(
                    "delivery_failed",
                    topic=delivery.topic,
                    partition=delivery.partition,
                    offset=delivery.offset,
                    cause=outcome.cause,
                    exc_info=True,
                )
            return outcome
        return Done()
