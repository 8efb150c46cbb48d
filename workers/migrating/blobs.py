"""Copying sealed photos, byte for byte."""

import hashlib
from array import array
from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

import numpy as np

from infra.objects.port import ObjectInfo, ObjectNotFound
from infra.repositories.collections import DEAD_LETTERS
from infra.services import Services
from schemas.letters import DeadLetter
from workers.migrating.carried import Stretch
from workers.migrating.records import records_of
from workers.migrating.together import few_at_a_time, in_pages
from workers.migrating.watching import Watcher

_IN_FLIGHT: Final = "inflight/"
_PAGE: Final = 200
# A photo may have 10 MiB, and its reference as much.
BLOBS_AT_ONCE: Final = 4


class Keys:
    """Which objects there are, in eight bytes each: millions of them fit into memory. One in 10^13 pairs is
    taken for another, which the check then finds missing."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._sorted: np.ndarray[tuple[int], np.dtype[np.uint64]] | None = None

    def add(self, info: ObjectInfo) -> None:
        self._hashes.append(self._hash(info))
        self._sorted = None

    def __contains__(self, info: ObjectInfo) -> bool:
        """Whether there is one of this key and size."""
        if self._sorted is None:
            self._sorted = np.sort(np.frombuffer(self._hashes, dtype=np.uint64))
        wanted = np.uint64(self._hash(info))
        place = int(np.searchsorted(self._sorted, wanted))
        return place < len(self._sorted) and bool(self._sorted[place] == wanted)

    @staticmethod
    def _hash(info: ObjectInfo) -> int:
        named = hashlib.sha256(f"{info.key}\n{info.size_bytes}".encode()).digest()
        return int.from_bytes(named[:8], "big")


async def keys_of(services: Services, company_id: UUID) -> Keys:
    """Those that go along."""
    keys = Keys()
    async for info in blobs_of(services, company_id):
        keys.add(info)
    return keys


async def blobs_of(services: Services, company_id: UUID) -> AsyncGenerator[ObjectInfo]:
    """What goes along: everything but photos in flight that no dead letter needs."""
    kept = await _kept_in_flight(services, company_id)
    async for info in services.objects.list(company_id, ""):
        if not info.key.startswith(_IN_FLIGHT) or info.key in kept:
            yield info


async def _kept_in_flight(services: Services, company_id: UUID) -> set[str]:
    letters = records_of(services.documents, Stretch(DEAD_LETTERS.name, DEAD_LETTERS, company_id))
    return {
        letter.blob_key
        async for letter in letters
        if isinstance(letter, DeadLetter) and letter.blob_key is not None
    }


async def copy_blobs(source: Services, target: Services, company_id: UUID, watcher: Watcher) -> None:
    """Make the target's objects those of the source, as far as keys and sizes tell; the check reads them."""
    there, wanted = Keys(), await keys_of(source, company_id)
    async for page in in_pages(target.objects.list(company_id, ""), _PAGE):
        for info in page:
            there.add(info)
        wrong = [info.key for info in page if info not in wanted]
        await target.objects.delete_many(company_id, wrong)

    async def copy(info: ObjectInfo) -> None:
        await copy_blob(source, target, company_id, info.key)

    async for page in in_pages(blobs_of(source, company_id), _PAGE):
        missing = [info for info in page if info not in there]
        await few_at_a_time(copy, missing, BLOBS_AT_ONCE)
        watcher.advance(len(page))


async def copy_blob(source: Services, target: Services, company_id: UUID, key: str) -> None:
    await target.objects.put(company_id, key, await source.objects.get(company_id, key))


async def blob_of(services: Services, company_id: UUID, key: str) -> bytes | None:
    """The object, if it is there."""
    try:
        return await services.objects.get(company_id, key)
    except ObjectNotFound:
        return None
