"""The workers of one process: put together by its roles, run, drained."""

import asyncio
from collections.abc import Awaitable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from infra.broker.attempts import DocumentAttempts
from infra.broker.dead_letters import BrokerDeadLetters
from infra.broker.delivery import DeliveryPolicy
from infra.broker.doorbell import Doorbell
from infra.broker.port import Topic
from infra.broker.topics import DEAD_LETTERS, GROUP
from infra.broker.window import Window
from infra.child import ChildBusy, ChildFailed
from infra.seen import Seen
from infra.services import Services
from infra.settings import WORKER_ROLES, WorkerRole
from infra.telemetry import get_logger
from infra.vectors.port import VectorsError
from workers.chores import Chore, ChoreRunner
from workers.dead_letters import JobDeadLetters
from workers.ending import Finisher
from workers.measuring import child_shown, window_shown
from workers.recognition.compute import Compute
from workers.relay import Relay
from workers.roles import Index, RoleMaker

_CHECK_TIMEOUT_S: Final = 10.0

_log = get_logger(__name__)


class WorkerHost:
    """What the roles bring, over one index and one compute process."""

    def __init__(
        self,
        services: Services,
        roles: Collection[WorkerRole] = WORKER_ROLES,
        *,
        index: Index | None,
        compute: Compute | None,
    ) -> None:
        """`compute` and `index` may be missing for roles that need none (`workers.roles`)."""
        self._services = services
        self._index = index
        self._compute = compute
        self._finisher = Finisher(services, Relay(services))
        maker = RoleMaker(services, self._finisher, index, compute)
        self._parts = [maker.make(role) for role in WORKER_ROLES if role in roles]
        self._chores = ChoreRunner(services)
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()

    async def prepare(self) -> None:
        """Try the model, and bring the index in step with the records. Until then nothing is to be served."""
        for part in self._parts:
            await part.prepare()

    async def check(self) -> Seen:
        """Whether the model and the index answer, for readiness; of those that this process has."""
        questions: dict[str, Awaitable[str]] = {}
        if self._compute is not None:
            questions["model"] = self._answers(self._compute.self_test(timeout_s=_CHECK_TIMEOUT_S))
        if self._index is not None:
            questions["index"] = self._answers(self._index.vectors.ping())
        parts = dict(zip(questions, await asyncio.gather(*questions.values()), strict=True))
        engine = self._compute.engine if self._compute is not None else None
        return Seen(parts, (engine,) if engine else ())

    async def run(self) -> None:
        """Work until `drain`, or until something fails that no retry can mend."""
        try:
            await self._run()
            for part in self._parts:
                await part.finish()
        finally:
            self._drained.set()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            if self._compute is not None:
                compute = self._compute
                stack.enter_context(child_shown(self._services.metrics, "compute", lambda: compute.restarts))
            joined = [(part, *await self._joined(stack, part.topics)) for part in self._parts]
            async with asyncio.TaskGroup() as group:
                consumers = [
                    group.create_task(part.consume(windows, doorbell, self._stopping))
                    for part, windows, doorbell in joined
                    if part.consume is not None
                ]
                chores = [
                    group.create_task(work)
                    for part in self._parts
                    for chore in part.chores
                    for work in self._doing(chore)
                ]
                stopping = group.create_task(self._stop([w for _, windows, _ in joined for w in windows]))
                await asyncio.wait((*consumers, stopping))
                for chore in chores:
                    chore.cancel()

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, bring what was begun to its end, and make the index safe on disk."""
        self._stopping.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._drained.wait()
        except TimeoutError:
            # What is left is delivered again at the next start.
            _log.warning("drain_cut_short", timeout_s=timeout_s)

    async def _stop(self, windows: Sequence[Window]) -> None:
        await self._stopping.wait()
        for window in windows:
            window.stop()

    def _doing(self, chore: Chore) -> Sequence[Coroutine[Any, Any, None]]:
        every = self._chores.every(chore)
        return [every] if chore.bell is None else [every, self._chores.when_rung(chore, chore.bell)]

    async def _joined(
        self, stack: AsyncExitStack, topics: Sequence[Topic]
    ) -> tuple[Sequence[Window], Doorbell]:
        """Windows into a role's topics, which ring one bell."""
        windows: list[Window] = []
        doorbell = Doorbell()
        for topic in topics:
            window = await stack.enter_async_context(self._window(topic, doorbell))
            stack.enter_context(window_shown(self._services.metrics, window, topic.name))
            windows.append(window)
        return windows, doorbell

    def _window(self, topic: Topic, doorbell: Doorbell) -> Window:
        services = self._services
        letters = BrokerDeadLetters(services.broker, DEAD_LETTERS, services.clock)
        return Window(
            services.broker,
            topic,
            GROUP,
            policy=DeliveryPolicy(max_in_flight=services.settings.max_jobs_in_flight),
            clock=services.clock,
            attempts=DocumentAttempts(services.documents, services.clock),
            dead_letters=JobDeadLetters(services, self._finisher, letters),
            doorbell=doorbell,
        )

    @staticmethod
    async def _answers(question: Awaitable[object]) -> str:
        try:
            await question
        except ChildBusy:
            return "ready"  # It is at work.
        except (ChildFailed, VectorsError):
            return "not answering"
        return "ready"
