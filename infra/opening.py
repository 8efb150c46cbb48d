"""The one place that turns settings into opened stores."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from infra.broker import topics
from infra.broker.port import Broker
from infra.broker.sqlite import SqliteBroker
from infra.clock import Clock, Entropy, system_entropy
from infra.common_clock import CommonClock
from infra.documents.port import Documents
from infra.documents.sqlite import SqliteDocuments
from infra.folder_lock import FolderLock
from infra.keys.company import CompanyKeys
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.metric_table import STORE_BREAKER
from infra.objects.port import Objects
from infra.repositories import collections
from infra.services import Services
from infra.settings import Settings
from infra.sqlite.file import SqliteFile
from infra.starting import started
from infra.store_adapters import kafka_broker, make_objects, mongo_documents
from infra.store_breaker import StoreBreaker
from infra.vectors.edge import EdgeVectors
from infra.vectors.port import Renewal, Vectors
from schemas.calibration import Calibration
from schemas.recognition import ModelStamp

if TYPE_CHECKING:
    from infra.vectors.qdrant import QdrantVectors

TEMPLATE_DIMENSIONS = 128


@asynccontextmanager
async def open_services(
    settings: Settings,
    model: ModelStamp,
    calibration: Calibration,
    clock: Clock,
    entropy: Entropy = system_entropy,
) -> AsyncGenerator[Services]:
    """Open keys and stores, and build the repositories above them; everything is closed again at the end.

    Waits for stores that do not answer yet. Raises FolderInUse when another process has the data folder,
    KeyFault when master key and key store don't fit, StoreRefused for what no waiting can mend.
    """
    common = CommonClock(clock)
    if settings.broker == "kafka":
        clock = common
    master = MasterKey.load(settings.master_key_file)
    keys = CompanyKeys(master, open_key_store(settings.key_store), clock, entropy=entropy)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(keys.close)
        await started("key store", keys.check, clock)
        stores = _Stores(settings, clock, common, stack)
        services = Services.over(
            settings=settings,
            clock=clock,
            entropy=entropy,
            model=model,
            calibration=calibration,
            master=master,
            keys=keys,
            documents=await stores.documents(),
            broker=await stores.broker(),
            objects=await stores.objects(),
        )
        stack.push_async_callback(services.tracing.close)
        for store, breaker in stores.breakers.items():
            stack.enter_context(services.metrics.reading(STORE_BREAKER, breaker.state, store))
        yield services


@dataclass
class _Stores:
    """Opens the adapter that the settings choose for each role; `stack` closes what was opened."""

    settings: Settings
    clock: Clock
    common: CommonClock
    stack: AsyncExitStack
    breakers: dict[str, StoreBreaker] = field(default_factory=dict[str, StoreBreaker])
    """Of the stores that are servers, by role."""
    _file: SqliteFile | None = None

    async def documents(self) -> Documents:
        match self.settings.documents:
            case "sqlite":
                documents = SqliteDocuments(self._sqlite_file())
                await documents.start(collections.ALL)
            case "mongodb":
                documents = mongo_documents(self.settings, self._breaker("documents"))
                await started("documents", lambda: documents.start(collections.ALL), self.clock)
        self.stack.push_async_callback(documents.close)
        return documents

    async def broker(self) -> Broker:
        match self.settings.broker:
            case "sqlite":
                broker = SqliteBroker(self._sqlite_file(), self.clock)
                await broker.start(topics.ALL)
            case "kafka":
                broker = kafka_broker(self.settings, self.common, self._breaker("broker"))
                await started("broker", partial(broker.start, topics.ALL), self.clock)
        self.stack.push_async_callback(broker.close)
        return broker

    async def objects(self) -> Objects:
        breaker = self._breaker("objects") if self.settings.objects == "s3" else None
        objects = make_objects(self.settings, self.clock, breaker)
        self.stack.push_async_callback(objects.close)
        await started("objects", objects.start, self.clock)
        return objects

    def _breaker(self, store: str) -> StoreBreaker:
        return self.breakers.setdefault(store, StoreBreaker(store))

    def _sqlite_file(self) -> SqliteFile:
        """The one file of documents and broker where both are embedded: what belongs together is one
        commit."""
        if self._file is None:
            self.stack.callback(FolderLock(self.settings.data_dir).close)
            # Whoever answers 202 syncs the documents, and with them this log if it is in the same file.
            apart = self.settings.documents != "sqlite"
            self._file = SqliteFile(self.settings.data_dir / "faceid.sqlite", always_synced=apart)
            self.stack.push_async_callback(self._file.close)
        return self._file


def collection_name(model: ModelStamp) -> str:
    """The name of the index of one model's templates; templates of different models never meet."""
    return f"{model.id}-{model.version}"


@asynccontextmanager
async def open_vectors(settings: Settings, model: ModelStamp, clock: Clock) -> AsyncGenerator[Vectors]:
    """Start the index of a model. Waits for servers that do not answer yet."""
    vectors = _qdrant(settings, model) if settings.vectors == "qdrant" else _edge(settings, model)
    try:
        await _start(settings, vectors.start, clock)
        yield vectors
    finally:
        await vectors.close()


@asynccontextmanager
async def renew_vectors(settings: Settings, model: ModelStamp, clock: Clock) -> AsyncGenerator[Renewal]:
    """Make the index of a model anew, without a look at what there is, which may be damaged.

    On servers the former index answers until the new one replaces it. On this machine the service is stopped,
    and the former is removed at once.
    """
    if settings.vectors == "qdrant":
        vectors = _qdrant(settings, model)
        renewal = Renewal(vectors, vectors.remove_others, vectors.put_in_use)
        start = vectors.start_anew
    else:
        vectors = _edge(settings, model)
        renewal = Renewal(vectors, _nothing, _nothing)
        start = vectors.start
        # Nothing else is in there, and all of it can be made again.
        await asyncio.to_thread(shutil.rmtree, _index_folder(settings, model), ignore_errors=True)
    try:
        await _start(settings, start, clock)
        yield renewal
    finally:
        await vectors.close()


async def _start(settings: Settings, start: Callable[[], Awaitable[None]], clock: Clock) -> None:
    # An index of this machine that does not start will not do so later either.
    await (started("index", start, clock) if settings.vectors == "qdrant" else start())


def _index_folder(settings: Settings, model: ModelStamp) -> Path:
    return settings.data_dir / "index" / collection_name(model)


def _edge(settings: Settings, model: ModelStamp) -> EdgeVectors:
    return EdgeVectors(_index_folder(settings, model), TEMPLATE_DIMENSIONS, collection_name(model))


def _qdrant(settings: Settings, model: ModelStamp) -> "QdrantVectors":
    # Takes a second to load, which an index of this machine has no need of.
    from infra.vectors.qdrant import QdrantVectors  # noqa: PLC0415
    from infra.vectors.qdrant_calls import QdrantAddress  # noqa: PLC0415
    from infra.vectors.qdrant_collection import QdrantLayout  # noqa: PLC0415

    key = settings.qdrant_api_key
    return QdrantVectors(
        QdrantAddress(
            settings.qdrant_url,
            api_key=None if key is None else key.get_secret_value(),
            ca_file=settings.qdrant_ca_file,
        ),
        TEMPLATE_DIMENSIONS,
        collection_name(model),
        QdrantLayout(
            shards=settings.qdrant_shards,
            replicas=settings.qdrant_replicas,
            write_replicas=settings.qdrant_write_replicas,
            graph=settings.qdrant_graph,
        ),
        call_timeout_s=settings.index_timeout_s,
    )


async def _nothing() -> None:
    """There is no former index by now, and nobody else who could look for one."""
