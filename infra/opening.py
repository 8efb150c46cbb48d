"""The one place that turns settings into opened stores."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from infra.broker import topics
from infra.broker.sqlite import SqliteBroker
from infra.clock import Clock, Entropy, system_entropy
from infra.documents.sqlite import SqliteDocuments
from infra.folder_lock import FolderLock
from infra.keys.company import CompanyKeys
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.objects.filesystem import FilesystemObjects
from infra.repositories import collections
from infra.services import Services
from infra.settings import Settings
from infra.sqlite.file import SqliteFile
from infra.vectors.edge import EdgeVectors
from infra.vectors.port import Vectors
from schemas.calibration import Calibration
from schemas.recognition import ModelStamp

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

    Raises FolderInUse when another process has the data folder, KeyFault when master key and key store don't
    fit.
    """
    master = MasterKey.load(settings.master_key_file)
    keys = CompanyKeys(master, open_key_store(settings.key_store), clock, entropy=entropy)
    await keys.check()
    data_dir = settings.data_dir
    async with AsyncExitStack() as stack:
        stack.callback(FolderLock(data_dir).close)
        file = SqliteFile(data_dir / "faceid.sqlite")
        stack.push_async_callback(file.close)
        documents, broker = SqliteDocuments(file), SqliteBroker(file, clock)
        objects = FilesystemObjects(data_dir / "objects")
        await documents.start(collections.ALL)
        stack.push_async_callback(documents.close)
        await broker.start(topics.ALL)
        stack.push_async_callback(broker.close)
        await objects.start()
        stack.push_async_callback(objects.close)
        yield Services.over(
            settings=settings,
            clock=clock,
            entropy=entropy,
            model=model,
            calibration=calibration,
            master=master,
            keys=keys,
            documents=documents,
            broker=broker,
            objects=objects,
        )


def collection_name(model: ModelStamp) -> str:
    """The name of the index of one model's templates; templates of different models never meet."""
    return f"{model.id}-{model.version}"


def index_folder(settings: Settings, model: ModelStamp) -> Path:
    """Where the embedded index of a model lies. Nothing else is in there, and all of it can be made again."""
    return settings.data_dir / "index" / collection_name(model)


@asynccontextmanager
async def open_vectors(settings: Settings, model: ModelStamp) -> AsyncGenerator[Vectors]:
    """Start the index of a model."""
    vectors = EdgeVectors(index_folder(settings, model), TEMPLATE_DIMENSIONS, collection_name(model))
    try:
        await vectors.start()
        yield vectors
    finally:
        await vectors.close()
