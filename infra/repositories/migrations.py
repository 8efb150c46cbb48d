"""Which companies were copied here from another installation, and which are being."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents
from infra.repositories.changing import replaced_record
from infra.repositories.collections import MIGRATIONS
from schemas.records import Migration


class MigrationRefused(Exception):
    """It can't be done as things are. The message says what to do."""


@dataclass(frozen=True)
class Migrations:
    """Reads and writes the records."""

    documents: Documents
    clock: Clock

    async def get(self, company_id: UUID) -> Migration | None:
        return await self.documents.get(MIGRATIONS, company_id, str(company_id))

    async def begin(self, company_id: UUID, origin: str) -> Migration:
        """Say that a company is being copied, from the beginning or once more. Raises MigrationRefused."""
        known = await self.get(company_id)
        begun = Migration(id=str(company_id), origin=origin, begun_at=self.clock.now())
        if known is not None:
            replaced = await replaced_record(self.documents, MIGRATIONS, company_id, known, begun)
            if replaced is None:
                raise _overtaken(company_id)
            return replaced
        try:
            await self.documents.insert(MIGRATIONS, company_id, begun)
        except AlreadyExists:
            raise _overtaken(company_id) from None
        return begun

    async def finish(self, company_id: UUID, begun: Migration, counts: Mapping[str, int]) -> None:
        """Say that a company was copied and checked. Raises MigrationRefused."""
        done = begun.model_copy(update={"finished_at": self.clock.now(), "counts": dict(counts)})
        if await replaced_record(self.documents, MIGRATIONS, company_id, begun, done) is None:
            raise _overtaken(company_id)


def _overtaken(company_id: UUID) -> MigrationRefused:
    return MigrationRefused(f"company {company_id} is being copied by another faceid migrate")
