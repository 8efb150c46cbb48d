"""Making the search index again from the records, for when it was lost or is not to be trusted.

What is said to be indexed is taken back first, so that a crash at any point leaves the rest to the next
start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from infra.keys.company import CompanyKeyGone
from infra.repositories.collections import COMPANIES, FACES, INDEX_MARKS
from infra.services import Services
from infra.vectors.port import Renewal, Vectors
from schemas.records import FaceState
from workers.indexing import Indexer, mark_id, take_back_mark

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
    done = await _fill(services, indexer, vectors, companies, progress)
    await indexer.flush()
    return done


async def reindex_anew(
    services: Services,
    renewal: Renewal,
    collection: str,
    companies: Sequence[UUID],
    progress: Callable[[Reindexed], None] = lambda _: None,
) -> list[Reindexed]:
    """Fill a new index from the records and put it in the place of the former one.

    Where the service runs meanwhile it uses the former one, to the end. What it still decides after its
    company's turn is brought over when nobody can write the former one any more: nothing that was answered is
    missing in the new one from the moment that it is found.
    """
    indexer = Indexer(services, renewal.vectors, collection)
    done = await _fill(services, indexer, renewal.vectors, companies, progress)
    await indexer.catch_up_all()  # Most of it now, while the former one still answers.
    await renewal.retire_former()
    await indexer.catch_up_all()
    await indexer.flush()
    await renewal.put_in_use()
    await _forget_former_marks(services, collection, indexer.edition, companies)
    return done


async def _fill(
    services: Services,
    indexer: Indexer,
    vectors: Vectors,
    companies: Sequence[UUID],
    progress: Callable[[Reindexed], None],
) -> list[Reindexed]:
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
    return done


async def _forget_former_marks(
    services: Services, collection: str, edition: str, companies: Sequence[UUID]
) -> None:
    """How far a former edition was is of no use to anybody."""
    kept = mark_id(collection, edition)
    for company_id in companies:
        for mark in (await services.documents.find(INDEX_MARKS, company_id)).items:
            if mark.id != kept and mark.id.startswith(f"{collection}~"):
                await services.documents.delete(INDEX_MARKS, company_id, mark.id, synced=False)


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
