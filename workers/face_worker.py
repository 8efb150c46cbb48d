"""The face worker: feeds the model with what is queued, searches first."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from infra.broker.delivery import Done, Failed, Outcome, Retry
from infra.broker.doorbell import Doorbell
from infra.broker.port import Delivery
from infra.broker.window import Window
from infra.child import CallRefused, ChildDied, ChildFailed, ChildTimedOut
from infra.metric_table import BATCH_JOBS
from workers.face import Answers, FaceStage
from workers.opened import Opened
from workers.telling import message_context, told_outcome, trace_queue, traced

# A batch costs nobody a wait: it is what is queued already. Enrolments take short turns, about 50 ms of
# embedding each, so that a search that comes meanwhile is not kept waiting.
SEARCHES_A_BATCH: Final = 16
ENROLMENTS_A_BATCH: Final = 2
_BATCH_BYTES: Final = 32 * 2**20

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FaceWorker:
    """One loop over both topics, so that the model works on one batch at a time and the next is chosen when
    it is free.

    `doorbell` is the one that both windows ring.
    """

    stage: FaceStage
    searches: Window
    enrolments: Window
    doorbell: Doorbell
    stopping: asyncio.Event

    async def run(self) -> None:
        """Work until `stopping` is set; what was begun is then brought to its end."""
        async with asyncio.TaskGroup() as concluding:
            while not self.stopping.is_set():
                rung = self.doorbell.listen()
                window = self.searches
                batch = window.take(SEARCHES_A_BATCH, _BATCH_BYTES)
                if not batch:
                    window = self.enrolments
                    batch = window.take(ENROLMENTS_A_BATCH, _BATCH_BYTES)
                if batch:
                    await self._work(window, batch, concluding)
                else:
                    await rung.wait()

    async def _work(self, window: Window, batch: Sequence[Delivery], concluding: asyncio.TaskGroup) -> None:
        """Open and analyse a batch; what follows from it goes on while the model turns to the next."""
        opened = await asyncio.gather(*(self._open(window, delivery) for delivery in batch))
        ready = [(delivery, item) for delivery, item in zip(batch, opened, strict=True) if item is not None]
        if not ready:
            return
        self.stage.services.metrics.observe(BATCH_JOBS, len(ready), batch[0].topic)
        tracing = self.stage.services.tracing
        with traced(tracing, "analyse", *(delivery for delivery, _ in ready)):
            analyses = await self._analyse([item for _, item in ready])
        for (delivery, item), analysis in zip(ready, analyses, strict=True):
            # The windows bound how much is in flight, and with it how many of these there are.
            concluding.create_task(self._conclude(window, delivery, item, analysis))

    async def _open(self, window: Window, delivery: Delivery) -> Opened | None:
        services = self.stage.services
        trace_queue(services.tracing, delivery, services.clock.now())
        with message_context(delivery), traced(services.tracing, "open", delivery):
            try:
                opened = await self.stage.open(delivery)
            except Exception as error:  # noqa: BLE001 - whatever it is, the window knows what becomes of it
                await window.settle([delivery], told_outcome(error))
                return None
            if opened is None:
                await window.settle([delivery], Done())
            return opened

    async def _analyse(self, items: Sequence[Opened]) -> Sequence[Answers | ChildFailed]:
        """The answers for each job. When a batch brings the compute process down, each is tried alone: so one
        photo that does it takes no other with it."""
        try:
            return await self.stage.analyse(items)
        except ChildFailed as failure:
            if len(items) == 1:
                return [failure]
        return [answer for item in items for answer in await self._analyse([item])]

    async def _conclude(
        self, window: Window, delivery: Delivery, item: Opened, analysis: Answers | ChildFailed
    ) -> None:
        with message_context(delivery), traced(self.stage.services.tracing, "conclude", delivery):
            outcome: Outcome = Done()
            try:
                if isinstance(analysis, ChildFailed):
                    outcome = _outcome_of_failure(analysis)
                else:
                    await self.stage.conclude(item, analysis)
            except Exception as error:  # noqa: BLE001 - whatever it is, the window knows what becomes of it
                outcome = told_outcome(error)
            await window.settle([delivery], outcome)


def _outcome_of_failure(failure: ChildFailed) -> Outcome:
    """A photo that the compute process died of, hung on or broke down over is to blame; a process that is
    busy or away is not."""
    _log.warning("photo_not_analysed", error=failure)
    for kind, cause in (
        (ChildDied, "compute_died"),
        (ChildTimedOut, "compute_hung"),
        (CallRefused, "compute_broke_down"),
    ):
        if isinstance(failure, kind):
            return Failed(cause)
    return Retry()
