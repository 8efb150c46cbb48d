"""Holding records, search index and blobs against each other, with the service stopped.

The records are right: what else says something different is a finding. Repair makes it follow them.
"""

import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

import numpy as np

from infra.keys.company import CompanyKeyGone
from infra.objects.port import ObjectInfo
from infra.repositories.collections import DEAD_LETTERS, JOBS
from infra.services import Services
from infra.vectors.port import Point, Vectors
from schemas.ids import derived_id
from schemas.jobs import JobState
from schemas.records import FaceRecord, FaceState
from workers.indexing import point_of
from workers.reindexing import reindex, stray_points

_PAGE: Final = 500
_TOLERANCE: Final = 1e-5
_KEY: Final = re.compile(r"(?P<folder>inflight|photos)/(?P<id>[0-9a-f-]{36})([./][A-Za-z0-9._-]+)?")
"""A job's photos on their way, and a face's that are kept: ids, and what sort of photo it is."""


class Fault(StrEnum):
    """What can be out of step."""

    NO_POINT = "record_without_point"
    OTHER_POINT = "point_unlike_its_record"
    STRAY_POINT = "point_without_record"
    NO_PHOTO = "record_without_photo"
    """The one fault that cannot be repaired: the photo is gone. The face can still be recognised."""
    STRAY_BLOB = "blob_without_owner"


@dataclass(frozen=True)
class Finding:
    """One fault. `what` is a face's id or a blob's key."""

    company_id: UUID
    fault: Fault
    what: str
    repaired: bool = False


@dataclass(frozen=True)
class Reconciler:
    """Looks for faults of one company at a time, and repairs those that can be."""

    services: Services
    vectors: Vectors
    collection: str

    async def check(
        self, companies: Sequence[UUID], *, repair: bool, report: Callable[[Finding], None] = lambda _: None
    ) -> Counter[tuple[Fault, bool]]:
        """Report every finding; answers how many there are of each fault, by whether they were repaired."""
        counts: Counter[tuple[Fault, bool]] = Counter()
        for company_id in companies:
            async for finding in self._company(company_id, repair=repair):
                counts[finding.fault, finding.repaired] += 1
                report(finding)
        return counts

    async def _company(self, company_id: UUID, *, repair: bool) -> AsyncGenerator[Finding]:
        index_faults = [finding async for finding in self._index(company_id)]
        if repair and any(finding.fault is not Fault.NO_PHOTO for finding in index_faults):
            await reindex(self.services, self.vectors, self.collection, [company_id])
        for finding in index_faults:
            repaired = repair and finding.fault is not Fault.NO_PHOTO
            yield Finding(company_id, finding.fault, finding.what, repaired)
        async for blob, known in self._stray_blobs(company_id):
            if repair and known:
                await self.services.objects.delete(company_id, blob.key)
            yield Finding(company_id, Fault.STRAY_BLOB, blob.key, repair and known)

    async def _index(self, company_id: UUID) -> AsyncGenerator[Finding]:
        """Faults of points, and photos that are missing."""
        keys = {blob.key async for blob in self.services.objects.list(company_id, "photos/")}
        change = 0
        while records := await self.services.faces.changed_since(company_id, change, limit=_PAGE):
            change = records[-1].change
            active = [record for record in records if record.state is FaceState.ACTIVE]
            for record, fault in await self._points(company_id, active):
                yield Finding(company_id, fault, record.id)
            for record in active:
                if {record.photo_key, record.reference_photo_key} - {None} - keys:
                    yield Finding(company_id, Fault.NO_PHOTO, record.id)
        for face_id in await stray_points(self.services, self.vectors, company_id):
            yield Finding(company_id, Fault.STRAY_POINT, str(face_id))

    async def _points(
        self, company_id: UUID, records: Sequence[FaceRecord]
    ) -> list[tuple[FaceRecord, Fault]]:
        try:
            key = await self.services.keys.get(company_id)
        except CompanyKeyGone:
            return []  # A deleted company: its records can't be read any more, and no search is made in it.
        found = await self.vectors.retrieve(company_id, [UUID(record.id) for record in records])
        users = await self.services.users.get_many(company_id, [r.user_hash for r in records if r.user_hash])
        faults: list[tuple[FaceRecord, Fault]] = []
        for record in records:
            point = found.get(UUID(record.id))
            if point is None:
                faults.append((record, Fault.NO_POINT))
            elif not alike(point, point_of(key, record, users.get(record.user_hash or ""))):
                faults.append((record, Fault.OTHER_POINT))
        return faults

    async def _stray_blobs(self, company_id: UUID) -> AsyncGenerator[tuple[ObjectInfo, bool]]:
        """Photos that no record names, and whether it is known what they are: what is not is never deleted.
        Of jobs that go on at the next start, nothing is touched."""
        pending = await self._pending(company_id)
        async for blob in self.services.objects.list(company_id, ""):
            match _KEY.fullmatch(blob.key):
                case None:
                    yield blob, False
                case found if found["id"] not in pending and not await self._owned(company_id, blob, found):
                    yield blob, True
                case _:
                    pass

    async def _owned(self, company_id: UUID, blob: ObjectInfo, found: re.Match[str]) -> bool:
        if found["folder"] == "inflight":
            letter = await self.services.documents.get(DEAD_LETTERS, company_id, found["id"])
            return letter is not None and letter.blob_key is not None
        record = await self.services.faces.get(company_id, UUID(found["id"]))
        return record is not None and blob.key in {record.photo_key, record.reference_photo_key}

    async def _pending(self, company_id: UUID) -> set[str]:
        """The ids of jobs that have not ended, and of the faces that they may make."""
        pending: set[str] = set()
        after = None
        while True:
            page = await self.services.documents.find(
                JOBS,
                company_id,
                where={"state": JobState.QUEUED},
                order_by=("created_at",),
                after=after,
                limit=_PAGE,
            )
            for job in page.items:
                pending |= {job.id, str(derived_id(UUID(job.id), "face"))}
            if page.next_key is None:
                return pending
            after = page.next_key


def alike(point: Point, right: Point) -> bool:
    """Whether an index entry says what it should."""
    same = (point.user_hash, set(point.groups), point.change) == (
        right.user_hash,
        set(right.groups),
        right.change,
    )
    return same and bool(np.allclose(point.vector, right.vector, atol=_TOLERANCE))
