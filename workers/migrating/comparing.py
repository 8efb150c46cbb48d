"""Holding two installations against each other: by counts and hashes, of what both have been read for."""

import hashlib
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from infra.repositories.collections import FACES
from infra.services import Services
from infra.vectors.port import Point, Vectors
from schemas.records import FaceRecord, FaceState
from workers.indexing import point_of
from workers.migrating.blobs import BLOBS_AT_ONCE, Keys, blob_of, blobs_of, copy_blob
from workers.migrating.carried import Stretch, of_company, of_platform, own_record
from workers.migrating.letters import letter_hashes
from workers.migrating.records import is_past, joined, records_of, text_of
from workers.migrating.together import few_at_a_time, in_pages
from workers.migrating.watching import Watcher
from workers.reconciling import alike

# A store may have removed by itself what is past its time by its own clock.
_SKEW: Final = timedelta(minutes=5)
_PAGE: Final = 500


class Fold:
    """Counts and hashes what is the same in whatever order it comes."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, *parts: str) -> None:
        self.count += 1
        digest = hashlib.sha256("\n".join(parts).encode()).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % (1 << 256)

    @property
    def sha256(self) -> str:
        return f"{self._sum:064x}"


@dataclass
class Compared:
    """What two installations have of something. Only what differs neither in number nor in hash, nor one by
    one, is the same."""

    company_id: UUID | None
    """None for what is kept of all companies together."""
    what: str
    source: Fold = field(default_factory=Fold)
    target: Fold = field(default_factory=Fold)
    differing: int = 0

    @property
    def is_same(self) -> bool:
        counted = self.source.count == self.target.count and self.source.sha256 == self.target.sha256
        return counted and self.differing == 0


@dataclass(frozen=True)
class Comparer:
    """Compares companies of `source` with those of `target`, whose index is `vectors`."""

    source: Services
    target: Services
    vectors: Vectors
    objects_are_shared: bool
    watcher: Watcher

    async def platform(self, companies: Collection[UUID]) -> AsyncGenerator[Compared]:
        """What is kept of all companies together."""
        for stretch in of_platform(companies):
            yield await self.records(None, stretch)
        letters = Compared(None, "dead-letter messages")
        ours = await letter_hashes(self.source, companies)
        theirs = await letter_hashes(self.target, companies)
        for digest in ours:
            letters.source.add(digest)
        for digest in theirs:
            letters.target.add(digest)
        letters.differing = len(ours ^ theirs)
        yield letters

    async def company(self, company_id: UUID, *, mend_blobs: bool) -> AsyncGenerator[Compared]:
        """What a company has, but for its own record. With `mend_blobs` an object that differs is copied once
        more, and the second reading counts."""
        for stretch in of_company(company_id):
            yield await self.records(company_id, stretch)
        if not self.objects_are_shared:
            yield await self._blobs(company_id, mend=mend_blobs)
        yield await self._index(company_id)

    async def own_record(self, company_id: UUID) -> Compared:
        return await self.records(company_id, own_record(company_id))

    async def records(self, company_id: UUID | None, stretch: Stretch) -> Compared:
        compared = Compared(company_id, stretch.what)
        pairs = joined(records_of(self.source.documents, stretch), records_of(self.target.documents, stretch))
        async for ours, theirs in pairs:
            self.watcher.advance(1)
            lone = ours or theirs if ours is None or theirs is None else None
            if lone is not None and is_past(lone, stretch, self.source.clock.now() + _SKEW):
                continue
            texts = [None if record is None else text_of(record) for record in (ours, theirs)]
            for fold, text in zip((compared.source, compared.target), texts, strict=True):
                if text is not None:
                    fold.add(text)
            compared.differing += texts[0] != texts[1]
        return compared

    async def _blobs(self, company_id: UUID, *, mend: bool) -> Compared:
        compared = Compared(company_id, "objects")

        async def compare(key: str) -> None:
            ours = await blob_of(self.source, company_id, key)
            theirs = await blob_of(self.target, company_id, key)
            if ours != theirs and ours is not None and mend:
                await copy_blob(self.source, self.target, company_id, key)
                theirs = await blob_of(self.target, company_id, key)
            for fold, blob in ((compared.source, ours), (compared.target, theirs)):
                if blob is not None:
                    fold.add(key, str(len(blob)), hashlib.sha256(blob).hexdigest())
            compared.differing += ours != theirs
            self.watcher.advance(1)

        known = Keys()
        async for page in in_pages(blobs_of(self.source, company_id), _PAGE):
            for info in page:
                known.add(info)
            await few_at_a_time(compare, [info.key for info in page], BLOBS_AT_ONCE)
        async for page in in_pages(blobs_of(self.target, company_id), _PAGE):
            extra = [info.key for info in page if info not in known]
            await few_at_a_time(compare, extra, BLOBS_AT_ONCE)
        return compared

    async def _index(self, company_id: UUID) -> Compared:
        """Whether the target's index has for each of the source's active faces what it should, and no
        more."""
        compared = Compared(company_id, "index")
        records = records_of(self.source.documents, Stretch(FACES.name, FACES, company_id))
        async for page in in_pages(records, _PAGE):
            faces = [one for one in page if isinstance(one, FaceRecord) and one.state is FaceState.ACTIVE]
            await self._points(company_id, faces, compared)
        compared.differing += await self.vectors.count(company_id) - compared.target.count
        return compared

    async def _points(self, company_id: UUID, faces: Sequence[FaceRecord], compared: Compared) -> None:
        key = await self.source.keys.get(company_id)
        users = await self.source.users.get_many(company_id, [f.user_hash for f in faces if f.user_hash])
        found = await self.vectors.retrieve(company_id, [UUID(face.id) for face in faces])
        for face in faces:
            right = point_of(key, face, users.get(face.user_hash or ""))
            point = found.get(right.face_id)
            compared.source.add(*_parts(right))
            if point is not None:
                compared.target.add(*_parts(point))
            compared.differing += point is None or not alike(point, right)
        self.watcher.advance(len(faces))


def _parts(point: Point) -> tuple[str, ...]:
    return (str(point.face_id), point.user_hash, str(point.change), *sorted(point.groups))
