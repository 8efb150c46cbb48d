"""The registrar's worker: a company's messages in order, different companies side by side."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from infra.broker.delivery import Done, Outcome
from infra.broker.port import Delivery
from infra.broker.window import Window
from infra.keys.company import CompanyKeyGone
from infra.metric_table import BATCH_JOBS, STAGE_SECONDS
from infra.services import Services
from workers.registrar import Registrar
from workers.telling import message_context, told_outcome, trace_queue, traced

_DECISIONS_A_BATCH: Final = 64
_BATCH_BYTES: Final = 16 * 2**20
_COMPANIES_AT_ONCE: Final = 8


@dataclass(frozen=True)
class RegistrarWorker:
    """Takes batches of one company each from the window until it is stopped."""

    registrar: Registrar
    window: Window
    services: Services

    async def run(self) -> None:
        """Work until the window is stopped; what was begun is then brought to its end."""
        places = asyncio.Semaphore(_COMPANIES_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while batch := await self.window.next_batch(_DECISIONS_A_BATCH, _BATCH_BYTES):
                await places.acquire()
                task = group.create_task(self._handle(batch))
                task.add_done_callback(lambda _: places.release())

    async def _handle(self, batch: Sequence[Delivery]) -> None:
        outcome: Outcome = Done()
        metrics, tracing = self.services.metrics, self.services.tracing
        metrics.observe(BATCH_JOBS, len(batch), batch[0].topic)
        for delivery in batch:
            trace_queue(tracing, delivery, self.services.clock.now())
        try:
            with metrics.timed(STAGE_SECONDS, "decide"), traced(tracing, "decide", *batch):
                await self.registrar.handle(UUID(bytes=batch[0].key), batch)
        except CompanyKeyGone:
            pass  # The company was deleted: nobody can read these messages, or wants to.
        except Exception as error:  # noqa: BLE001 - whatever it is, the window knows what is to become of it
            for delivery in batch:
                with message_context(delivery):
                    outcome = told_outcome(error)
        await self.window.settle(batch, outcome)
