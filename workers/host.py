"""All workers of one process: put together, run, drained."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Final

import structlog

from infra.broker import topics
from infra.broker.attempts import DocumentAttempts
from infra.broker.dead_letters import BrokerDeadLetters
from infra.broker.delivery import STORE_DOWN, DeliveryPolicy
from infra.broker.doorbell import Doorbell
from infra.broker.port import Topic
from infra.broker.window import Window
from infra.child import ChildBusy, ChildFailed
from infra.metric_table import CHORE_DONE, CHORE_RUNS
from infra.services import Services
from infra.vectors.port import Vectors, VectorsError
from schemas.calibration import Calibration
from workers.closing import Closer
from workers.dead_letters import JobDeadLetters
from workers.ending import Finisher
from workers.enrolling import Enroller
from workers.face import FaceStage
from workers.face_worker import FaceWorker
from workers.gallery import Gallery
from workers.indexing import Indexer
from workers.measuring import child_shown, measure_index, show_model, window_shown
from workers.recognition.compute import Compute
from workers.registrar import Registrar
from workers.registrar_worker import RegistrarWorker
from workers.relay import Relay
from workers.removal import Remover
from workers.searching import Searcher
from workers.sweeping import Sweeper
from workers.unkept_photos import PhotoSweeper
from workers.verifying import Verifier

_SELF_TEST_TIMEOUT_S: Final = 60.0
_CHECK_TIMEOUT_S: Final = 10.0
_RELAY_EVERY_S: Final = 5.0
# A flush holds queries up for a moment.
_FLUSH_EVERY_S: Final = 30.0
_SWEEP_EVERY_S: Final = 60.0
_CLEAN_EVERY_S: Final = 30.0
_MEASURE_EVERY_S: Final = 30.0
_CLEANED_AT_ONCE: Final = 1000

_log = structlog.get_logger(__name__)


class WorkerHost:
    """The face worker, the registrar, the relay and the sweeps over one index and one compute process."""

    def __init__(
        self,
        services: Services,
        vectors: Vectors,
        collection: str,
        compute: Compute,
        calibration: Calibration,
    ) -> None:
        self._services = services
        self._vectors = vectors
        self._collection = collection
        self._compute = compute
        self._relay = Relay(services)
        self._finisher = Finisher(services, self._relay)
        self._indexer = Indexer(services, vectors, collection)
        gallery = Gallery(services, vectors, timeout_s=services.settings.index_timeout_s)
        searcher = Searcher(services, gallery, calibration)
        verifier, enroller = Verifier(services, calibration), Enroller(services, calibration)
        self._stage = FaceStage(services, compute, self._finisher, searcher, verifier, enroller)
        remover = Remover(services, self._indexer, self._finisher)
        self._registrar = Registrar(services, self._indexer, gallery, self._finisher, remover, calibration)
        self._sweeper = Sweeper(services, self._finisher)
        self._closer = Closer(services, vectors, self._indexer)
        self._doorbell = Doorbell()
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()

    async def prepare(self) -> None:
        """Try the model, and bring the index in step with the records. Until then nothing is to be served."""
        model = await self._compute.self_test(timeout_s=_SELF_TEST_TIMEOUT_S)
        show_model(self._services.metrics, model, self._services.settings.device)
        companies = await self._indexer.catch_up_all()
        _log.info("index_in_step", companies=companies)

    async def check(self) -> Mapping[str, str]:
        """Whether the model and the index answer, for readiness."""
        model = self._answers(self._compute.self_test(timeout_s=_CHECK_TIMEOUT_S))
        index = self._answers(self._vectors.ping())
        return dict(zip(("model", "index"), await asyncio.gather(model, index), strict=True))

    async def run(self) -> None:
        """Work until `drain`, or until something fails that no retry can mend."""
        try:
            await self._run()
            await self._indexer.flush()
        finally:
            self._drained.set()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            stack.enter_context(
                child_shown(self._services.metrics, "compute", lambda: self._compute.restarts)
            )
            searches = await self._joined(stack, topics.SEARCH, self._doorbell)
            enrolments = await self._joined(stack, topics.ENROLL, self._doorbell)
            decisions = await self._joined(stack, topics.TEMPLATES)
            async with asyncio.TaskGroup() as group:
                chores = [group.create_task(self._every(*chore)) for chore in self._chores()]
                chores.append(group.create_task(self._clear_when_rung()))
                face_worker = FaceWorker(self._stage, searches, enrolments, self._doorbell, self._stopping)
                registrar_worker = RegistrarWorker(self._registrar, decisions, self._services)
                consumers = [group.create_task(worker.run()) for worker in (face_worker, registrar_worker)]
                stopping = group.create_task(self._stop(searches, enrolments, decisions))
                await asyncio.wait(consumers)
                await stopping
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

    async def _stop(self, *windows: Window) -> None:
        await self._stopping.wait()
        for window in windows:
            window.stop()

    async def _joined(self, stack: AsyncExitStack, topic: Topic, doorbell: Doorbell | None = None) -> Window:
        window = await stack.enter_async_context(self._window(topic, doorbell))
        stack.enter_context(window_shown(self._services.metrics, window, topic.name))
        return window

    def _window(self, topic: Topic, doorbell: Doorbell | None = None) -> Window:
        services = self._services
        letters = BrokerDeadLetters(services.broker, topics.DEAD_LETTERS, services.clock)
        return Window(
            services.broker,
            topic,
            topics.GROUP,
            policy=DeliveryPolicy(max_in_flight=services.settings.max_jobs_in_flight),
            clock=services.clock,
            attempts=DocumentAttempts(services.documents, services.clock),
            dead_letters=JobDeadLetters(services, self._finisher, letters),
            doorbell=doorbell,
        )

    def _chores(self) -> tuple[tuple[str, float, Callable[[], Awaitable[object]]], ...]:
        return (
            ("relay", _RELAY_EVERY_S, self._relay.sweep),
            ("index flush", _FLUSH_EVERY_S, self._indexer.flush),
            ("lost jobs", _SWEEP_EVERY_S, self._sweeper.end_lost_jobs),
            ("orphaned blobs", _SWEEP_EVERY_S, self._sweeper.drop_orphaned_blobs),
            ("expired records", _SWEEP_EVERY_S, self._sweeper.drop_expired),
            ("unkept photos", _SWEEP_EVERY_S, PhotoSweeper(self._services).drop_unkept),
            ("closed companies", _SWEEP_EVERY_S, self._closer.clear_closed),
            ("consumed messages", _CLEAN_EVERY_S, self._clean),
            ("index size", _MEASURE_EVERY_S, self._measure),
        )

    async def _clean(self) -> None:
        while await self._services.broker.clean(self._services.clock.now(), limit=_CLEANED_AT_ONCE):
            pass

    async def _measure(self) -> None:
        await measure_index(self._services, self._vectors, self._collection)

    async def _every(self, name: str, period_s: float, chore: Callable[[], Awaitable[object]]) -> None:
        while True:
            await self._services.clock.sleep(period_s)
            await self._do(name, chore)

    async def _clear_when_rung(self) -> None:
        """A company that was closed in this process is cleared away at once."""
        while True:
            rung = self._services.closings.listen()
            await self._do("closed companies", self._closer.clear_closed)
            await rung.wait()

    async def _do(self, name: str, chore: Callable[[], Awaitable[object]]) -> None:
        metrics, label = self._services.metrics, name.replace(" ", "_")
        try:
            await chore()
        except STORE_DOWN:
            metrics.count(CHORE_RUNS, label, "put_off")
            _log.warning("chore_put_off", chore=name)  # The next round does it.
            return
        metrics.count(CHORE_RUNS, label, "done")
        metrics.set(CHORE_DONE, self._services.clock.now().timestamp(), label)

    @staticmethod
    async def _answers(question: Awaitable[object]) -> str:
        try:
            await question
        except ChildBusy:
            return "ready"  # It is at work.
        except (ChildFailed, VectorsError):
            return "not answering"
        return "ready"
