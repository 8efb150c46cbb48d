"""Reading more than a page: a whole collection, or what an index alone does not tell apart."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID

from infra.documents.port import Collection, Documents, Page, Scalar
from schemas.records import Record

R = TypeVar("R", bound=Record)

_READ_AT_ONCE: Final = 500
# A call never reads more than this for one page, however rare what it looks for is.
_READ_AT_MOST: Final = 2000


async def pages_of(
    documents: Documents, collection: Collection[R], company_id: UUID, *, limit: int
) -> AsyncGenerator[Sequence[R]]:
    """All records of a company, by their ids, so many at a time."""
    after: tuple[Scalar, ...] | None = None
    while True:
        page = await documents.find(collection, company_id, after=after, limit=limit)
        yield page.items
        after = page.next_key
        if after is None:
            return


async def sifted(
    find: Callable[[tuple[Scalar, ...] | None, int], Awaitable[Page[R]]],
    sift: Callable[[Sequence[R]], Awaitable[Sequence[R]]],
    position: Callable[[R], tuple[Scalar, ...]],
    *,
    after: tuple[Scalar, ...] | None,
    limit: int,
) -> Page[R]:
    """A page of those records that `sift` leaves of what `find(after, limit)` answers, in that order.

    The page may be shorter than `limit`, even empty, and yet have a `next_key`: then as much was read as one
    call may cost, and who wants the rest asks for the next page. `position` tells a record's place in the
    order.
    """
    kept: list[R] = []
    read = 0
    while True:
        page = await find(after, min(_READ_AT_ONCE, max(limit, 50)))
        read += len(page.items)
        kept.extend(await sift(page.items))
        after = page.next_key
        if len(kept) > limit or (len(kept) == limit and after is not None):
            return Page(tuple(kept[:limit]), position(kept[limit - 1]))
        if after is None or read >= _READ_AT_MOST:
            return Page(tuple(kept), after)
