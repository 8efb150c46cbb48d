"""`faceid migrate`: both installations opened beside one another, and one copied into the other."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from infra.clock import Clock, SystemClock
from infra.keys.company import CompanyKeys
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.opening import collection_name, open_services, open_vectors
from infra.places import origin_of, place_of_documents, place_of_objects
from infra.repositories.migrations import MigrationRefused
from infra.services import Services
from infra.settings import Settings
from infra.starting import started
from workers.migrating.comparing import Compared
from workers.migrating.migrator import Migrator
from workers.migrating.refusing import open_companies
from workers.migrating.watching import Watcher
from workers.recognition.model import known_model


@dataclass(frozen=True)
class Asked:
    """What is to be moved, from where to where. `company` is None for all; `only_check` writes nothing."""

    source: Settings
    target: Settings
    company: UUID | None = None
    replace: bool = False
    only_check: bool = False


async def migrate(asked: Asked, watcher: Watcher, clock: Clock | None = None) -> list[Compared]:
    """Copy and check; answers the comparison. Raises MigrationRefused, and what opening the stores raises."""
    async with migrator(asked, watcher, clock or SystemClock()) as opened:
        if asked.only_check:
            return await opened.check(await open_companies(opened.source, asked.company))
        return await opened.run(asked.company, replace=asked.replace)


@asynccontextmanager
async def migrator(asked: Asked, watcher: Watcher, clock: Clock) -> AsyncGenerator[Migrator]:
    """Both installations, opened."""
    source, target = asked.source, asked.target
    if place_of_documents(source) == place_of_documents(target):
        raise MigrationRefused("source and target keep their records in the same place")
    if source.model != target.model:
        raise MigrationRefused("FACEID_MODEL differs: what one model has enrolled, another does not find")
    master = await _same_master(source, target)
    model = known_model(source.model)
    if not asked.only_check:
        await _key_store_made(target, master, clock)
    async with AsyncExitStack() as stack:

        async def opened(side: Settings) -> Services:
            return await stack.enter_async_context(open_services(side, model.stamp, model.calibration, clock))

        yield Migrator(
            await opened(source),
            await opened(target),
            await stack.enter_async_context(open_vectors(target, model.stamp, clock)),
            collection_name(model.stamp),
            origin=origin_of(source, master.fingerprint),
            objects_are_shared=place_of_objects(source) == place_of_objects(target),
            watcher=watcher,
        )


async def _same_master(source: Settings, target: Settings) -> MasterKey:
    """The one master key that both have."""
    ours, theirs = [
        await asyncio.to_thread(MasterKey.load, side.master_key_file) for side in (source, target)
    ]
    if ours.fingerprint != theirs.fingerprint:
        raise MigrationRefused(
            f"the master keys differ: {ours.fingerprint} at the source, {theirs.fingerprint} at the target. "
            "What is sealed under one can't be read under the other: give both the source's "
            "(FACEID_MASTER_KEY_FILE)"
        )
    return ours


async def _key_store_made(target: Settings, master: MasterKey, clock: Clock) -> None:
    """A target that is new needs no set-up for its keys, which are copies."""
    keys = CompanyKeys(master, open_key_store(target.key_store), clock)
    try:
        await started("key store", keys.initialise, clock)
    finally:
        await keys.close()
