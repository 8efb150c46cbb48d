"""Clearing away what closed companies leave: with their key gone, nobody can read it any more."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from infra.documents.port import Collection
from infra.repositories.collections import ALL, COMPANIES, LOGINS
from infra.services import Services
from infra.vectors.port import Vectors
from schemas.records import Company, CompanyState, Record
from workers.indexing import Indexer

KEPT_FOR: Final = timedelta(minutes=5)
"""How long a closed company's own record is kept. Who began before the closing may still write something for
as long, and each round clears that, too; no key is cached, and no clock wrong, for longer."""

_PAGE: Final = 200
_BLOBS_AT_ONCE: Final = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Closer:
    """Finishes closings, in rounds that may be cut off anywhere and begun again: the company's own record,
    by which a round finds it, goes last."""

    services: Services
    vectors: Vectors
    indexer: Indexer

    async def clear_closed(self) -> int:
        """Clear away everything of every closed company; answers how many there were."""
        documents = self.services.documents
        companies = await documents.companies(COMPANIES, where={"state": CompanyState.CLOSED})
        for company_id in companies:
            company = await documents.get(COMPANIES, company_id, str(company_id))
            if company is not None:
                await self._clear(company_id, company)
        return len(companies)

    async def _clear(self, company_id: UUID, company: Company) -> None:
        over = company.closed_at is None or self.services.clock.now() - company.closed_at > KEPT_FOR
        # A closing that was cut off may have left the key and the log-ins, which are found by the members.
        await self.services.companies.shred(company_id)
        self.indexer.forget(company_id)
        points = await self._clear_index(company_id)
        blobs = await self._clear_objects(company_id)
        records = 0
        for collection in ALL:
            if collection not in (COMPANIES, LOGINS):  # Those are found under other ids, and are dealt with.
                records += await self._clear_records(collection, company_id)
        if over:
            await self.services.documents.delete(COMPANIES, company_id, company.id)
        if over or points or blobs or records:
            await self.services.documents.sync()
            _log.info(
                "company_cleared",
                company_id=company_id,
                points_count=points,
                blobs_count=blobs,
                records_count=records,
                last_round=over,
            )

    async def _clear_index(self, company_id: UUID) -> int:
        count = 0
        while True:
            points, _ = await self.vectors.scroll(company_id, after=None, limit=_PAGE)
            if not points:
                break
            await self.vectors.delete(company_id, [point.face_id for point in points])
            count += len(points)
        if count:
            await self.vectors.flush()
        return count

    async def _clear_objects(self, company_id: UUID) -> int:
        objects, count = self.services.objects, 0
        keys: list[str] = []
        async for blob in objects.list(company_id, ""):
            keys.append(blob.key)
            if len(keys) == _BLOBS_AT_ONCE:
                await objects.delete_many(company_id, keys)
                count += len(keys)
                keys = []
        await objects.delete_many(company_id, keys)
        return count + len(keys)

    async def _clear_records(self, collection: Collection[Any], company_id: UUID) -> int:
        documents, count = self.services.documents, 0
        while True:
            page = await documents.find(collection, company_id, limit=_PAGE)
            records: Sequence[Record] = page.items
            if not records:
                return count
            # At once, so that they share their commits; the round is made safe as a whole.
            outcomes = await asyncio.gather(
                *(documents.delete(collection, company_id, record.id, synced=False) for record in records),
                return_exceptions=True,
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
            count += len(records)
