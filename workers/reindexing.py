"""Making the search index again from the records, for when it was lost or is not to be trusted.

What is said to be indexed is taken back first, so that a crash at any point leaves the rest to the next
start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from infra.keys.company import CompanyKeyGone
from infra.repositories.collections import COMPANIES, FACES
from infra.services import Services
from infra.vectors.port import Vectors
from schemas.records import FaceState
from workers.indexing import Indexer, take_back_mark

_PAGE: Final = 500
_ALL: Final = 1_000_000


@dataclass(frozen=True)
class Reindexed:
    """What came of one company's index."""

    company_id: UUID
    points: int
    strays_removed: int


async def companies_of(services: Services) -> list[UUID]:
    """Every company that has records."""
    documents = services.documents
    found = {*await documents.companies(COMPANIES, limit=_ALL), *await documents.companies(FACES, limit=_ALL)}
    return sorted(found)


async def take_back_marks(services: Services, collection: str, companies: Sequence[UUID]) -> None:
    """From here on the index of these companies counts as empty: it may be removed."""
    for company_id in companies:
        await take_back_mark(services.documents, company_id, collection)


async def reindex(
    services: Services,
    vectors: Vectors,
    collection: str,
    companies: Sequence[UUID],
    progress: Callable[[Reindexed], None] = lambda _: None,
) -> list[Reindexed]:
    """Write every active face's point from its record, and remove points that have no such record. Searches
    would find everything all the while."""
    indexer = Indexer(services, vectors, collection)
    done: list[Reindexed] = []
    for company_id in companies:
        await indexer.begin_again(company_id)
        try:
            await indexer.catch_up(company_id)
        except CompanyKeyGone:
            continue  # A deleted company: its templates can't be read by anybody any more.
        strays = await stray_points(services, vectors, company_id)
        await vectors.delete(company_id, strays)
        done.append(Reindexed(company_id, await vectors.count(company_id), len(strays)))
        progress(done[-1])
    await indexer.flush()
    return done


async def stray_points(services: Services, vectors: Vectors, company_id: UUID) -> list[UUID]:
    """The points that have no active record."""
    strays: list[UUID] = []
    after: UUID | None = None
    while True:
        points, after = await vectors.scroll(company_id, after=after, limit=_PAGE)
        records = await services.faces.get_many(company_id, [point.face_id for point in points])
        for point in points:
            record = records.get(str(point.face_id))
            if record is None or record.state is not FaceState.ACTIVE:
                strays.append(point.face_id)
        if after is None:
            return strays
