"""What a worker process can do, role by role: which topics it consumes, what it does from time to time, and
what it needs for that."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from infra.broker import topics
from infra.broker.doorbell import Doorbell
from infra.broker.port import Topic
from infra.broker.window import Window
from infra.services import Services
from infra.settings import WorkerRole
from infra.telemetry import get_logger
from infra.vectors.port import Vectors
from workers.chores import Chore
from workers.closing import Closer
from workers.ending import Finisher
from workers.enrolling import Enroller
from workers.face import FaceStage
from workers.face_worker import FaceWorker
from workers.gallery import Gallery
from workers.indexing import Indexer
from workers.measuring import measure_index, show_model, show_no_index
from workers.recognition.compute import Compute
from workers.registrar import Registrar
from workers.registrar_worker import RegistrarWorker
from workers.relay import Relay
from workers.removal import Remover
from workers.searching import Searcher
from workers.sweeping import Sweeper
from workers.unkept_photos import PhotoSweeper
from workers.verifying import Verifier

T = TypeVar("T")

NEEDS_MODEL: Final[frozenset[WorkerRole]] = frozenset({"face"})
NEEDS_INDEX: Final[frozenset[WorkerRole]] = frozenset({"face", "registrar", "retention"})

_SELF_TEST_TIMEOUT_S: Final = 60.0
_RELAY_EVERY_S: Final = 5.0
# A flush holds queries up for a moment.
_FLUSH_EVERY_S: Final = 30.0
_SWEEP_EVERY_S: Final = 60.0
_CLEAN_EVERY_S: Final = 30.0
_MEASURE_EVERY_S: Final = 30.0
_CLEANED_AT_ONCE: Final = 1000

_log = get_logger(__name__)


class OtherModel(Exception):
    """The weights that were loaded are not those of the model that all other processes go by."""


@dataclass(frozen=True)
class Index:
    """The search index and its name, for roles that need it."""

    vectors: Vectors
    collection: str


async def _nothing() -> None:
    return None


Consume = Callable[[Sequence[Window], Doorbell, asyncio.Event], Coroutine[Any, Any, None]]
"""Works on what comes through the windows, which ring the bell, until it is told to stop and they are."""


@dataclass(frozen=True)
class RoleParts:
    """What a role brings to its process. `prepare` comes before all work, `finish` after it."""

    topics: tuple[Topic, ...] = ()
    consume: Consume | None = None
    chores: tuple[Chore, ...] = ()
    prepare: Callable[[], Awaitable[None]] = _nothing
    finish: Callable[[], Awaitable[None]] = _nothing


class RoleMaker:
    """Makes the parts of each role of a process; what several of them have is the same for all."""

    def __init__(
        self, services: Services, finisher: Finisher, index: Index | None, compute: Compute | None
    ) -> None:
        self._services = services
        self._finisher = finisher
        self._index = index
        self._compute = compute
        self._indexer = None if index is None else Indexer(services, index.vectors, index.collection)

    def make(self, role: WorkerRole) -> RoleParts:
        """Raises ValueError for a role that needs an index or a model where there is none."""
        match role:
            case "face":
                return self._face(_needed(self._index), _needed(self._compute))
            case "registrar":
                return self._registrar(_needed(self._index), _needed(self._indexer))
            case "relay":
                return RoleParts(chores=(Chore("relay", _RELAY_EVERY_S, Relay(self._services).sweep),))
            case "retention":
                return self._retention(_needed(self._index), _needed(self._indexer))

    def _face(self, index: Index, compute: Compute) -> RoleParts:
        """Photos become templates, and are searched, compared or sent on."""
        services = self._services
        searcher = Searcher(services, self._gallery(index), services.calibration)
        verifier = Verifier(services, services.calibration)
        enroller = Enroller(services, services.calibration)
        stage = FaceStage(services, compute, self._finisher, searcher, verifier, enroller)

        async def consume(windows: Sequence[Window], doorbell: Doorbell, stopping: asyncio.Event) -> None:
            searches, enrolments = windows
            await FaceWorker(stage, searches, enrolments, doorbell, stopping).run()

        async def prepare() -> None:
            model = await compute.self_test(timeout_s=_SELF_TEST_TIMEOUT_S)
            if model != services.model:
                raise OtherModel(f"the model that was loaded is {model}, and should be {services.model}")
            show_model(services.metrics, model, compute.engine)

        return RoleParts((topics.SEARCH, topics.ENROLL), consume, prepare=prepare)

    def _registrar(self, index: Index, indexer: Indexer) -> RoleParts:
        """Decides enrolments and removals, and keeps the index in step."""
        services = self._services
        remover = Remover(services, indexer, self._finisher)
        registrar = Registrar(
            services, indexer, self._gallery(index), self._finisher, remover, services.calibration
        )

        async def prepare() -> None:
            companies = await indexer.catch_up_all()
            _log.info("index_in_step", companies=companies)

        async def measure() -> None:
            await measure_index(services, index.vectors, index.collection)

        def unmeasured() -> None:
            show_no_index(services.metrics)

        return RoleParts(
            (topics.TEMPLATES,),
            _deciding(registrar, services),
            (
                Chore("index flush", _FLUSH_EVERY_S, indexer.flush),
                Chore("index size", _MEASURE_EVERY_S, measure, shared=True, passed_on=unmeasured),
            ),
            prepare,
            finish=indexer.flush,
        )

    def _retention(self, index: Index, indexer: Indexer) -> RoleParts:
        """Ends what nobody will end, and clears away what is past its time."""
        services = self._services
        sweeper = Sweeper(services, self._finisher)
        photos = PhotoSweeper(services)
        closer = Closer(services, index.vectors, indexer)

        def sweep(name: str, do: Callable[[], Awaitable[object]], bell: Doorbell | None = None) -> Chore:
            return Chore(name, _SWEEP_EVERY_S, do, shared=True, bell=bell)

        return RoleParts(
            chores=(
                sweep("lost jobs", sweeper.end_lost_jobs),
                sweep("orphaned blobs", sweeper.drop_orphaned_blobs),
                sweep("expired records", sweeper.drop_expired),
                sweep("unkept photos", photos.drop_unkept),
                sweep("closed companies", closer.clear_closed, services.closings),
                Chore("consumed messages", _CLEAN_EVERY_S, self._clean),
            )
        )

    def _gallery(self, index: Index) -> Gallery:
        return Gallery(self._services, index.vectors, timeout_s=self._services.settings.index_timeout_s)

    async def _clean(self) -> None:
        while await self._services.broker.clean(self._services.clock.now(), limit=_CLEANED_AT_ONCE):
            pass


def _deciding(registrar: Registrar, services: Services) -> Consume:
    async def consume(windows: Sequence[Window], _: Doorbell, __: asyncio.Event) -> None:
        (decisions,) = windows
        await RegistrarWorker(registrar, decisions, services).run()

    return consume


def _needed(part: T | None) -> T:
    if part is None:
        raise ValueError("a role needs an index or a model that its process has not")
    return part
