"""Changing a record whose other writers do not wait."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from infra.documents.port import Documents
from infra.documents.sqlite import SqliteDocuments
from infra.repositories.changing import changed_record, replaced_record
from infra.repositories.collections import ALL, INDEX_MARKS
from infra.sqlite.file import SqliteFile
from schemas.ids import new_id
from schemas.records import IndexMark

COMPANY: Final[UUID] = new_id(datetime(2026, 1, 1, tzinfo=UTC), bytes)


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[Documents]:
    store = SqliteDocuments(SqliteFile(tmp_path / "documents.sqlite"))
    await store.start(ALL)
    yield store
    await store.close()


async def test_a_record_that_moved_is_not_replaced(documents: Documents) -> None:
    read = IndexMark(id="m", change=1)
    await documents.insert(INDEX_MARKS, COMPANY, read)
    newer = read.model_copy(update={"change": 2})
    first = await replaced_record(documents, INDEX_MARKS, COMPANY, read, newer)
    assert first == IndexMark(id="m", version=2, change=2)
    assert await replaced_record(documents, INDEX_MARKS, COMPANY, read, newer) is None
    assert await documents.get(INDEX_MARKS, COMPANY, "m") == first


async def test_of_changes_at_once_none_is_lost(documents: Documents) -> None:
    await documents.insert(INDEX_MARKS, COMPANY, IndexMark(id="m", change=0))

    def raised(mark: IndexMark) -> IndexMark:
        return mark.model_copy(update={"change": mark.change + 1})

    changes = (changed_record(documents, INDEX_MARKS, COMPANY, "m", raised) for _ in range(20))
    outcomes = [outcome for outcome in await asyncio.gather(*changes) if outcome is not None]
    assert sorted((before.change, after.change) for before, after in outcomes) == [
        (number, number + 1) for number in range(20)
    ]
    assert await documents.get(INDEX_MARKS, COMPANY, "m") == IndexMark(id="m", version=21, change=20)


async def test_what_is_not_there_or_is_to_stay_is_not_changed(documents: Documents) -> None:
    mark = IndexMark(id="m", change=1)
    assert await changed_record(documents, INDEX_MARKS, COMPANY, "m", lambda known: known) is None
    await documents.insert(INDEX_MARKS, COMPANY, mark)
    assert await changed_record(documents, INDEX_MARKS, COMPANY, "m", lambda _: None) is None
    assert await documents.get(INDEX_MARKS, COMPANY, "m") == mark
