"""Copying records: first the target has nothing that it should not have, then everything that it should.

Both steps look at what is there, so either may be cut off anywhere and begun again. What is in the way goes
first, because a record that is wrong may hold a number that a right one needs.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final

from infra.documents.port import Documents
from infra.repositories.scanning import pages_of
from schemas.records import Record
from workers.migrating.carried import Stretch
from workers.migrating.together import few_at_a_time, in_pages
from workers.migrating.watching import Watcher

_PAGE: Final = 500
_WRITES_AT_ONCE: Final = 32


async def copy_records(
    source: Documents, target: Documents, stretch: Stretch, now: datetime, watcher: Watcher
) -> None:
    """Make the target's records those of the source. What is past its time stays where it is."""
    await _clear(source, target, stretch)

    async def insert(record: Record) -> None:
        await target.insert(stretch.collection, stretch.scope, record, synced=False)

    pairs = joined(records_of(source, stretch), records_of(target, stretch))
    async for page in in_pages(pairs, _PAGE):
        missing = [ours for ours, theirs in page if ours is not None and theirs is None]
        current = [record for record in missing if not is_past(record, stretch, now)]
        await few_at_a_time(insert, current, _WRITES_AT_ONCE)
        watcher.advance(len(page))
    await target.sync()


async def _clear(source: Documents, target: Documents, stretch: Stretch) -> None:
    """Remove from the target what the source does not have, or has otherwise."""

    async def delete(record: Record) -> None:
        await target.delete(stretch.collection, stretch.scope, record.id, synced=False)

    async for page in _pages(target, stretch):
        right = await source.get_many(stretch.collection, stretch.scope, [record.id for record in page])
        wrong = [record for record in page if not is_same(right.get(record.id), record)]
        await few_at_a_time(delete, wrong, _WRITES_AT_ONCE)


async def records_of(documents: Documents, stretch: Stretch) -> AsyncGenerator[Record]:
    """The stretch's records, by their ids."""
    async for page in _pages(documents, stretch):
        for record in page:
            yield record


async def _pages(documents: Documents, stretch: Stretch) -> AsyncGenerator[Sequence[Record]]:
    async for page in pages_of(documents, stretch.collection, stretch.scope, limit=_PAGE):
        yield [record for record in page if stretch.holds is None or stretch.holds(record)]


async def joined(
    left: AsyncIterator[Record], right: AsyncIterator[Record]
) -> AsyncGenerator[tuple[Record | None, Record | None]]:
    """Two walks by id as one: what both have is met together, the rest beside None."""
    ours, theirs = await anext(left, None), await anext(right, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.id < theirs.id):
            yield ours, None
            ours = await anext(left, None)
        elif ours is None or theirs.id < ours.id:
            yield None, theirs
            theirs = await anext(right, None)
        else:
            yield ours, theirs
            ours, theirs = await anext(left, None), await anext(right, None)


def text_of(record: Record) -> str:
    """All of a record: the same text from every store."""
    return record.model_dump_json()


def is_same(one: Record | None, other: Record) -> bool:
    return one is not None and text_of(one) == text_of(other)


def is_past(record: Record, stretch: Stretch, now: datetime) -> bool:
    """Whether a store may remove the record by itself."""
    field = stretch.collection.expires_field
    expires_at: Any = getattr(record, field) if field is not None else None
    return expires_at is not None and expires_at <= now
