"""What every key store does."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pymongo
import pytest

from infra.keys.errors import CompanyKeyExists, CompanyKeyGone, KeyStoreMissing, MasterKeyMismatch
from infra.keys.from_url import open_key_store
from infra.keys.store import KeyStore, WrappedKey
from tests.contract.documents_adapters import database_of

MASTER: Final = "00112233aabbccdd"
COMPANY, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture(params=["file", pytest.param("mongodb", marks=pytest.mark.system)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"file:{tmp_path / 'keys'}"
        return
    server, database = request.getfixturevalue("mongodb_url"), database_of(tmp_path)
    before, _, options = server.partition("?")
    yield f"{before.rstrip('/')}/{database}?{options}"
    with pymongo.MongoClient[dict[str, Any]](server) as client:
        client.drop_database(database)


@pytest.fixture
async def fresh(url: str) -> AsyncIterator[KeyStore]:
    """A store that was never set up."""
    store = open_key_store(url)
    yield store
    await store.close()


@pytest.fixture
async def store(fresh: KeyStore) -> KeyStore:
    await fresh.initialise(MASTER)
    return fresh


def wrapped(value: bytes = b"\x00\xffsealed") -> WrappedKey:
    return WrappedKey(
        master_fingerprint=MASTER,
        wrapped=value,
        created_at=datetime(2026, 3, 1, 9, 30, 0, 123_000, tzinfo=UTC),
    )


async def test_a_key_is_found_as_it_was_created(store: KeyStore) -> None:
    await store.create(COMPANY, wrapped())
    assert await store.get(COMPANY) == wrapped()


async def test_a_key_is_never_replaced(store: KeyStore) -> None:
    await store.create(COMPANY, wrapped(b"first"))
    with pytest.raises(CompanyKeyExists):
        await store.create(COMPANY, wrapped(b"second"))
    assert (await store.get(COMPANY)).wrapped == b"first"


async def test_a_missing_key_is_gone(store: KeyStore) -> None:
    await store.create(OTHER, wrapped())
    with pytest.raises(CompanyKeyGone):
        await store.get(COMPANY)


async def test_a_deleted_key_is_gone_and_deleting_again_is_no_error(store: KeyStore) -> None:
    await store.create(COMPANY, wrapped())
    await store.create(OTHER, wrapped())
    assert await store.delete(COMPANY)
    assert not await store.delete(COMPANY)
    with pytest.raises(CompanyKeyGone):
        await store.get(COMPANY)
    assert await store.list() == {OTHER}


async def test_the_companies_are_listed(store: KeyStore) -> None:
    assert await store.list() == frozenset()
    await store.create(COMPANY, wrapped())
    await store.create(OTHER, wrapped())
    assert await store.list() == {COMPANY, OTHER}


async def test_a_store_that_was_never_set_up_is_not_an_empty_one(fresh: KeyStore) -> None:
    with pytest.raises(KeyStoreMissing):
        await fresh.check(MASTER)
    with pytest.raises(KeyStoreMissing):
        await fresh.get(COMPANY)
    with pytest.raises(KeyStoreMissing):
        await fresh.create(COMPANY, wrapped())
    with pytest.raises(KeyStoreMissing):
        await fresh.delete(COMPANY)
    with pytest.raises(KeyStoreMissing):
        await fresh.list()


async def test_setting_up_again_keeps_what_is_there(store: KeyStore) -> None:
    await store.create(COMPANY, wrapped())
    await store.initialise(MASTER)
    await store.check(MASTER)
    assert await store.get(COMPANY) == wrapped()


async def test_another_master_key_is_noticed_even_by_an_empty_store(store: KeyStore) -> None:
    for attempt in (store.initialise, store.check):
        with pytest.raises(MasterKeyMismatch) as mismatch:
            await attempt("ffffffffffffffff")
        assert MASTER in str(mismatch.value)
    await store.check(MASTER)
