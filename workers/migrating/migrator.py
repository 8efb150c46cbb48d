"""Copying companies in an order in which a crash leaves nothing that looks alive.

First it is noted in the target that a company is being copied, and its own record is taken away there; then
come its key, records, objects, dead letters and index; then everything is read from both sides and compared;
and only if all is the same comes its own record, by which it counts as there. What was begun is gone on with
by running it again.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from infra.documents.port import AlreadyExists
from infra.repositories.collections import COMPANIES, MIGRATIONS
from infra.repositories.migrations import MigrationRefused, Migrations
from infra.services import Services
from infra.vectors.port import Vectors
from schemas.records import Company, CompanyState, Migration
from workers.closing import Closer
from workers.indexing import Indexer
from workers.migrating.blobs import copy_blobs
from workers.migrating.carried import of_company, of_platform
from workers.migrating.comparing import Compared, Comparer
from workers.migrating.letters import copy_letters
from workers.migrating.records import copy_records
from workers.migrating.refusing import (
    Plan,
    planned,
    refuse_taken_addresses,
    refuse_waiting,
    refuse_workers,
)
from workers.migrating.watching import Watcher
from workers.reindexing import Reindexed, reindex


@dataclass(frozen=True)
class Migrator:
    """Moves companies from `source` to `target`, whose index is `vectors`. `origin` tells the source from
    other installations."""

    source: Services
    target: Services
    vectors: Vectors
    collection: str
    origin: str
    objects_are_shared: bool
    watcher: Watcher
    _begun: dict[UUID, Migration] = field(default_factory=dict[UUID, Migration])

    @property
    def comparer(self) -> Comparer:
        return Comparer(self.source, self.target, self.vectors, self.objects_are_shared, self.watcher)

    async def run(self, only: UUID | None, *, replace: bool) -> list[Compared]:
        """Copy one company, or all, and check them; they are open in the target if everything is the same.
        Raises MigrationRefused, before anything is written."""
        await refuse_workers(self.source, "source")
        await refuse_workers(self.target, "target")
        plan = await planned(self.source, self.target, self.origin, only, replace=replace)
        everything = (*plan.copied, *plan.moved)
        await refuse_waiting(self.source, everything, all_of_them=only is None)
        await refuse_taken_addresses(self.source, self.target, plan.copied)
        await self._clear_away(plan.closed)
        for company_id in plan.copied:
            await self._begin(company_id)
        await self._copy(plan.copied)
        rows = await self._checked(plan)
        await refuse_workers(self.source, "source")
        await refuse_waiting(self.source, everything, all_of_them=only is None)
        if all(row.is_same for row in rows):
            for company_id in plan.copied:
                await self._open(company_id, rows)
                rows.append(await self.comparer.own_record(company_id))
        return rows

    async def check(self, companies: Sequence[UUID]) -> list[Compared]:
        """Compare, and write nothing."""
        return await self._checked(Plan(copied=(), moved=tuple(companies)))

    async def _begin(self, company_id: UUID) -> None:
        """From here on the company is not there in the target, whatever was."""
        documents = self.target.documents
        begun = await Migrations(documents, self.target.clock).begin(company_id, self.origin)
        if await Migrations(self.source.documents, self.source.clock).get(company_id) == begun:
            await documents.delete(MIGRATIONS, company_id, begun.id)
            raise MigrationRefused("source and target keep their records in the same place")
        await documents.delete(COMPANIES, company_id, str(company_id))
        await self.target.keys.adopt(company_id, self.source.keys)
        self._begun[company_id] = begun

    async def _copy(self, companies: Sequence[UUID]) -> None:
        source, target, watcher = self.source, self.target, self.watcher
        now = source.clock.now()
        for stretch in of_platform(frozenset(companies)):
            watcher.begin(stretch.what, None)
            await copy_records(source.documents, target.documents, stretch, now, watcher)
        for place, company_id in enumerate(companies, start=1):
            of_all = f" of company {place} of {len(companies)}" if len(companies) > 1 else ""
            for stretch in of_company(company_id):
                total = await source.documents.count(stretch.collection, company_id)
                watcher.begin(f"copying {stretch.what}{of_all}", total)
                await copy_records(source.documents, target.documents, stretch, now, watcher)
            if not self.objects_are_shared:
                watcher.begin(f"copying objects{of_all}", None)
                await copy_blobs(source, target, company_id, watcher)
        watcher.begin("copying dead letters", None)
        await copy_letters(source, target, frozenset(companies), watcher)
        watcher.begin("indexing companies", len(companies))

        def indexed(_: Reindexed) -> None:
            watcher.advance(1)

        await reindex(target, self.vectors, self.collection, companies, indexed)

    async def _checked(self, plan: Plan) -> list[Compared]:
        comparer, everything = self.comparer, (*plan.copied, *plan.moved)
        self.watcher.begin("checking what is kept of all companies", None)
        rows = [row async for row in comparer.platform(frozenset(everything))]
        for place, company_id in enumerate(everything, start=1):
            self.watcher.begin(f"checking company {place} of {len(everything)}", None)
            copied = company_id in self._begun
            rows += [row async for row in comparer.company(company_id, mend_blobs=copied)]
            if not copied:
                rows.append(await comparer.own_record(company_id))
        return rows

    async def _open(self, company_id: UUID, rows: Sequence[Compared]) -> None:
        """Let the company be there in the target. That it was finished is written first: the other way
        round, a crash in between would let the next run write over what it has done since."""
        counts = {row.what: row.source.count for row in rows if row.company_id == company_id}
        migrations = Migrations(self.target.documents, self.target.clock)
        await migrations.finish(company_id, self._begun[company_id], counts)
        company = await self.source.accounts.company(company_id)
        if company is None:
            raise MigrationRefused(f"company {company_id} has gone from the source meanwhile")
        await self.target.documents.insert(COMPANIES, company_id, company)

    async def _clear_away(self, companies: Sequence[UUID]) -> None:
        """End the copies of companies that are not there any more, as if they had been closed here."""
        if not companies:
            return
        target = self.target
        now = target.clock.now()
        for company_id in companies:
            closed = Company(
                id=str(company_id),
                state=CompanyState.CLOSED,
                name_sealed=b"",
                created_at=now,
                closed_at=now,
                model=target.model,
                admin_ids=("nobody",),
            )
            with suppress(AlreadyExists):
                await target.documents.insert(COMPANIES, company_id, closed)
        self.watcher.begin("clearing away what was closed", None)
        await Closer(target, self.vectors, Indexer(target, self.vectors, self.collection)).clear_closed()
