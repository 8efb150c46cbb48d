"""Keeping the search index in step with the face records, which are the truth."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import numpy as np

from infra.documents.port import AlreadyExists, Documents
from infra.keys.company import CompanyKey, CompanyKeyGone
from infra.repositories.changing import changed_record, replaced_record
from infra.repositories.collections import FACES, INDEX_MARKS
from infra.services import Services
from infra.vectors.port import Point, Vectors
from schemas.records import FaceRecord, FaceState, IndexMark, User

_PAGE: Final = 500


class Indexer:
    """Applies changes of face records to the index, in the order of the company's change numbers.

    Everything up to the applied number of a company is in the index. A point is always written from the
    current record; afterwards the records are read again, and what has moved meanwhile is written again, so
    that of two indexers the one with the older view can't have the last word.

    What is noted is noted of one edition of the index. When somebody has made the index anew, that counts for
    nothing, here and in the marks: each edition has its own.
    """

    def __init__(self, services: Services, vectors: Vectors, collection: str) -> None:
        self._services = services
        self._vectors = vectors
        self._collection = collection
        self._edition: str | None = None
        self._applied: dict[UUID, int] = {}
        self._marked: dict[UUID, int] = {}
        self._locks: dict[UUID, asyncio.Lock] = {}

    async def catch_up(self, company_id: UUID) -> int:
        """Apply whatever is new; answers the change number up to which the index now has everything."""
        async with self._locks.setdefault(company_id, asyncio.Lock()):
            while True:
                edition = self._known_edition()
                applied = await self._position(company_id, edition)
                records = await self._services.faces.changed_since(company_id, applied, limit=_PAGE)
                if records:
                    await self._apply(company_id, records)
                if edition != self.edition:
                    continue  # Of what was written, nobody knows into which.
                if not records:
                    return applied
                self._applied[company_id] = records[-1].change

    @property
    def edition(self) -> str:
        """The making of the index that answers now: who catches up and then asks must have had one alone."""
        return self._vectors.edition

    async def catch_up_all(self) -> int:
        """Bring every company's index up to date, as at start; answers how many companies there are."""
        companies = await self._services.documents.companies(FACES, limit=1_000_000)
        for company_id in companies:
            try:
                await self.catch_up(company_id)
            except CompanyKeyGone:
                continue  # A deleted company: its templates can't be read by anybody any more.
        return len(companies)

    async def begin_again(self, company_id: UUID) -> None:
        """Take nothing of a company as indexed. The next `catch_up`, of this process or after a crash,
        writes all of its points."""
        async with self._locks.setdefault(company_id, asyncio.Lock()):
            record_id = mark_id(self._collection, self._known_edition())
            await take_back_mark(self._services.documents, company_id, record_id)
            self._applied[company_id] = self._marked[company_id] = 0

    async def flush(self) -> None:
        """Make the index safe on disk and note how far it is: a start after a power failure goes on from
        there."""
        edition = self._known_edition()
        reached = {c: change for c, change in self._applied.items() if change != self._marked.get(c)}
        if not reached:
            return
        await self._vectors.flush()
        for company_id, change in reached.items():
            if edition != self.edition:
                return  # What was noted is of an index that nobody uses any more.
            await self._mark(company_id, mark_id(self._collection, edition), change)
            if company_id in self._applied:
                self._marked[company_id] = change

    def forget(self, company_id: UUID) -> None:
        """A deleted company has nothing to be noted of any more."""
        self._applied.pop(company_id, None)
        self._marked.pop(company_id, None)

    async def _mark(self, company_id: UUID, record_id: str, change: int) -> None:
        documents = self._services.documents
        mark = IndexMark(id=record_id, change=change)
        try:
            await documents.insert(INDEX_MARKS, company_id, mark, synced=False)
            return
        except AlreadyExists:
            known = await documents.get(INDEX_MARKS, company_id, record_id)
        if known is not None and known.change < change:
            # Losing this race is fine: the mark is then further than ours.
            await replaced_record(documents, INDEX_MARKS, company_id, known, mark, synced=False)

    def _known_edition(self) -> str:
        """The edition that answers now; what is noted of another is forgotten."""
        edition = self.edition
        if edition != self._edition:
            self._applied.clear()
            self._marked.clear()
            self._edition = edition
        return edition

    async def _position(self, company_id: UUID, edition: str) -> int:
        known = self._applied.get(company_id)
        if known is not None:
            return known
        record_id = mark_id(self._collection, edition)
        mark = await self._services.documents.get(INDEX_MARKS, company_id, record_id)
        position = mark.change if mark else 0
        if edition == self._edition:  # Another company's turn may have found a new one meanwhile.
            self._applied[company_id] = self._marked[company_id] = position
        return position

    async def _apply(self, company_id: UUID, records: Sequence[FaceRecord]) -> None:
        key = await self._services.keys.get(company_id)
        pending = list(records)
        while pending:
            await self._write(company_id, key, pending)
            current = await self._services.faces.get_many(company_id, [UUID(record.id) for record in pending])
            pending = [
                current[record.id]
                for record in pending
                if record.id in current and current[record.id].version != record.version
            ]

    async def _write(self, company_id: UUID, key: CompanyKey, records: Sequence[FaceRecord]) -> None:
        active = [record for record in records if record.state is FaceState.ACTIVE]
        users = await self._services.users.get_many(company_id, [r.user_hash for r in active if r.user_hash])
        points = [point_of(key, record, users.get(record.user_hash or "")) for record in active]
        gone = [UUID(record.id) for record in records if record.state is FaceState.DELETED]
        if points:
            await self._vectors.upsert(company_id, points)
        if gone:
            await self._vectors.delete(company_id, gone)


def mark_id(collection: str, edition: str) -> str:
    """The id under which it is noted how far an edition of an index is."""
    return f"{collection}~{edition}" if edition else collection


async def take_back_mark(documents: Documents, company_id: UUID, record_id: str) -> None:
    """Say that nothing of a company is known to be in its index."""

    def none(known: IndexMark) -> IndexMark:
        return known.model_copy(update={"change": 0})

    await changed_record(documents, INDEX_MARKS, company_id, record_id, none)


def open_template(key: CompanyKey, record: FaceRecord) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The template of an active face record."""
    if record.template_sealed is None:
        raise ValueError("a deleted face has no template")
    return np.frombuffer(key.open_template(record.id, record.template_sealed), dtype="<f4")


def point_of(key: CompanyKey, record: FaceRecord, user: User | None) -> Point:
    """The index entry of an active face, from its record and its user's."""
    return Point(
        face_id=UUID(record.id),
        vector=open_template(key, record),
        user_hash=record.user_hash or "",
        groups=user.groups if user else (),
        change=record.change,
    )
