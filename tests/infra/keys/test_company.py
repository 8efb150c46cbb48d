import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.clock import ManualClock
from infra.crypto.cipher import Unsealable
from infra.keys.company import CompanyKey, CompanyKeys
from infra.keys.errors import (
    CompanyKeyExists,
    CompanyKeyGone,
    KeyStoreCorrupt,
    KeyStoreMissing,
    MasterKeyMismatch,
)
from infra.keys.file_store import FileKeyStore
from infra.keys.master import MasterKey
from infra.keys.platform import PlatformKey
from infra.keys.store import KeyStore, WrappedKey

COMPANY, OTHER = UUID(int=1), UUID(int=2)
MASTER = MasterKey(bytes(range(32)))
any_text = st.text(st.characters())  # Lone surrogates too: JSON can carry them.


class WatchedStore(FileKeyStore):
    """The store in files, with its reads counted and, when told to, held back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reads = 0
        self.reading = asyncio.Event()
        self.let_through = asyncio.Event()
        self.let_through.set()

    async def get(self, company_id: UUID) -> WrappedKey:
        key = await super().get(company_id)
        self.reads += 1
        self.reading.set()
        await self.let_through.wait()
        return key


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path) -> WatchedStore:
    made = WatchedStore(tmp_path / "keys")
    await made.initialise(MASTER.fingerprint)
    return made


@pytest.fixture
def keys(store: KeyStore, clock: ManualClock) -> CompanyKeys:
    return CompanyKeys(MASTER, store, clock)


async def test_a_created_key_opens_after_a_restart_what_it_sealed(keys: CompanyKeys, store: KeyStore) -> None:
    sealed = (await keys.create(COMPANY)).seal_text("user.full_name", "u", "Zoë")
    restarted = CompanyKeys(MASTER, store, ManualClock())
    assert (await restarted.get(COMPANY)).open_text("user.full_name", "u", sealed) == "Zoë"


async def test_a_company_has_one_key(keys: CompanyKeys) -> None:
    await keys.create(COMPANY)
    with pytest.raises(CompanyKeyExists):
        await keys.create(COMPANY)


async def test_a_destroyed_key_is_gone_at_once_and_for_good(keys: CompanyKeys) -> None:
    await keys.create(COMPANY)
    await keys.get(COMPANY)
    assert await keys.destroy(COMPANY)
    with pytest.raises(CompanyKeyGone):
        await keys.get(COMPANY)
    assert not await keys.destroy(COMPANY)


async def test_a_key_is_read_once_a_minute(
    keys: CompanyKeys, store: WatchedStore, clock: ManualClock
) -> None:
    await keys.create(COMPANY)
    for _ in range(3):
        await keys.get(COMPANY)
    clock.advance(59)
    await keys.get(COMPANY)
    assert store.reads == 1
    clock.advance(1)
    await keys.get(COMPANY)
    assert store.reads == 2


async def test_a_key_destroyed_elsewhere_is_gone_within_a_minute(
    keys: CompanyKeys, store: KeyStore, clock: ManualClock
) -> None:
    await keys.create(COMPANY)
    for _ in range(6):  # Being used does not prolong it.
        await keys.get(COMPANY)
        clock.advance(9)
    await store.delete(COMPANY)
    clock.advance(6)
    with pytest.raises(CompanyKeyGone):
        await keys.get(COMPANY)


async def test_a_key_that_nobody_asks_for_again_does_not_stay_in_memory(
    store: KeyStore, clock: ManualClock
) -> None:
    keys = CompanyKeys(MASTER, store, clock, cache_s=1e-9)
    await keys.create(COMPANY)
    await keys.get(COMPANY)
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(1e-6, later.set)
    await later.wait()
    assert not keys._cache


async def test_callers_at_once_share_one_read(keys: CompanyKeys, store: WatchedStore) -> None:
    await keys.create(COMPANY)
    got = await asyncio.gather(*(keys.get(COMPANY) for _ in range(10)))
    assert store.reads == 1
    assert len(set(map(id, got))) == 1
    assert not keys._reading


async def test_a_caller_that_gives_up_does_not_take_the_others_along(
    keys: CompanyKeys, store: WatchedStore
) -> None:
    await keys.create(COMPANY)
    store.let_through.clear()
    first = asyncio.create_task(keys.get(COMPANY))
    await store.reading.wait()
    second = asyncio.create_task(keys.get(COMPANY))
    await asyncio.sleep(0)
    first.cancel()
    store.let_through.set()
    assert (await second).scope_id == COMPANY


async def test_a_key_forgotten_while_it_is_read_is_not_kept(keys: CompanyKeys, store: WatchedStore) -> None:
    await keys.create(COMPANY)
    store.let_through.clear()
    reader = asyncio.create_task(keys.get(COMPANY))
    await store.reading.wait()
    await keys.destroy(COMPANY)
    store.let_through.set()
    await reader  # It had asked before.
    with pytest.raises(CompanyKeyGone):
        await keys.get(COMPANY)


async def test_the_cache_is_bounded_and_drops_what_was_unused_for_longest(
    store: WatchedStore, clock: ManualClock
) -> None:
    keys = CompanyKeys(MASTER, store, clock, capacity=2)
    first, second, third = (uuid4() for _ in range(3))
    for company_id in (first, second, third):
        await keys.create(company_id)
    for company_id in (first, second, first, third):
        await keys.get(company_id)
    assert store.reads == 3
    await keys.get(first)
    assert store.reads == 3
    await keys.get(second)
    assert store.reads == 4


async def test_a_wrong_master_key_is_noticed(keys: CompanyKeys, store: KeyStore, clock: ManualClock) -> None:
    await keys.create(COMPANY)
    other = CompanyKeys(MasterKey(bytes(32)), store, clock)
    for attempt in (other.initialise(), other.check(), other.get(COMPANY)):
        with pytest.raises(MasterKeyMismatch):
            await attempt
    await keys.check()


async def test_a_key_is_adopted_from_another_store_of_the_same_master(
    keys: CompanyKeys, store: KeyStore, clock: ManualClock, tmp_path: Path
) -> None:
    key = await keys.create(COMPANY)
    other = CompanyKeys(MASTER, FileKeyStore(tmp_path / "other"), clock)
    await other.initialise()
    for _ in range(2):
        await other.adopt(COMPANY, keys)
    assert (await other.get(COMPANY)).lookup("a", "b") == key.lookup("a", "b")
    await keys.adopt(COMPANY, keys)  # One store on both sides.
    await keys.destroy(COMPANY)
    await other.get(COMPANY)
    with pytest.raises(CompanyKeyGone):
        await other.adopt(COMPANY, keys)
    another = await keys.create(COMPANY)
    with pytest.raises(CompanyKeyExists):
        await other.adopt(COMPANY, keys)
    assert (await other.get(COMPANY)).lookup("a", "b") != another.lookup("a", "b")
    foreign = CompanyKeys(MasterKey(bytes(32)), FileKeyStore(tmp_path / "foreign"), clock)
    await foreign.initialise()
    with pytest.raises(MasterKeyMismatch):
        await foreign.adopt(COMPANY, keys)


async def test_a_swapped_or_altered_entry_is_an_error_and_not_a_deleted_company(
    keys: CompanyKeys, store: KeyStore
) -> None:
    await keys.create(COMPANY)
    await store.create(OTHER, await store.get(COMPANY))
    with pytest.raises(KeyStoreCorrupt):
        await keys.get(OTHER)


async def test_a_missing_store_is_not_a_deleted_company(tmp_path: Path, clock: ManualClock) -> None:
    keys = CompanyKeys(MASTER, FileKeyStore(tmp_path / "wrong"), clock)
    for attempt in (keys.check(), keys.get(COMPANY), keys.create(COMPANY)):
        with pytest.raises(KeyStoreMissing):
            await attempt


@pytest.mark.parametrize("cache_s", [0, 60.1])
def test_keys_are_cached_for_a_minute_at_most(store: KeyStore, clock: ManualClock, cache_s: float) -> None:
    with pytest.raises(ValueError, match="at most"):
        CompanyKeys(MASTER, store, clock, cache_s=cache_s)


@given(any_text, any_text, any_text)
def test_a_sealed_field_opens_in_its_place(purpose: str, record_id: str, text: str) -> None:
    key = CompanyKey(COMPANY, bytes(32))
    assert key.open_text(purpose, record_id, key.seal_text(purpose, record_id, text)) == text


@given(st.tuples(any_text, any_text), st.tuples(any_text, any_text))
def test_a_sealed_field_opens_in_no_other_place(place: tuple[str, str], other: tuple[str, str]) -> None:
    key = CompanyKey(COMPANY, bytes(32))
    sealed = key.seal_text(*place, "Zoë")
    if place != other:
        with pytest.raises(Unsealable):
            key.open_text(*other, sealed)
    for stranger in (CompanyKey(OTHER, bytes(32)), CompanyKey(COMPANY, bytes([1] * 32))):
        with pytest.raises(Unsealable):
            stranger.open_text(*place, sealed)


def test_a_record_id_may_be_a_uuid_or_its_text() -> None:
    key, record_id = CompanyKey(COMPANY, bytes(32)), uuid4()
    assert key.open_text("user.id", str(record_id), key.seal_text("user.id", record_id, "42")) == "42"


def test_templates_photos_and_job_keys_are_bound_to_their_records() -> None:
    key = CompanyKey(COMPANY, bytes(32))
    pairs = (
        (key.seal_template, key.open_template),
        (key.seal_photo, key.open_photo),
        (key.wrap_job_key, key.unwrap_job_key),
    )
    for seal, open_ in pairs:
        sealed = seal("one", b"\x00\x01")
        assert open_("one", sealed) == b"\x00\x01"
        with pytest.raises(Unsealable):
            open_("other", sealed)
    with pytest.raises(Unsealable):
        key.open_template("one", key.seal_photo("one", b""))


def test_lookups_differ_by_company_purpose_and_value() -> None:
    key, other = CompanyKey(COMPANY, bytes(32)), CompanyKey(OTHER, bytes([1] * 32))
    found = {
        key.lookup("user.id", "anna"),
        key.lookup("user.id", "Anna"),
        key.lookup("reference", "anna"),
        key.lookup_folded("user.id", "anna"),
        other.lookup("user.id", "anna"),
        key.photo_hash(b"anna"),
    }
    assert len(found) == 6
    assert {len(value) for value in found} == {32}
    assert key.lookup("user.id", "anna") == CompanyKey(COMPANY, bytes(32)).lookup("user.id", "anna")
    assert key.lookup_folded("user.id", "ANNA") == key.lookup_folded("user.id", "anna")


def test_nonces_come_from_the_source_that_was_handed_in() -> None:
    key = CompanyKey(COMPANY, bytes(32), bytes)
    assert key.seal_text("a", "b", "c") == key.seal_text("a", "b", "c")


def test_keys_are_not_shown() -> None:
    assert repr(CompanyKey(COMPANY, bytes(32))) == f"CompanyKey({COMPANY})"


def test_the_platforms_key_follows_from_the_master_key() -> None:
    one, same, other = PlatformKey(MASTER), PlatformKey(MASTER), PlatformKey(MasterKey(bytes(32)))
    assert one.email_lookup("Ann@Example.org") == same.email_lookup("ann@example.org")
    assert one.email_lookup("ann@example.org") != other.email_lookup("ann@example.org")
    assert same.open_text("a", "b", one.seal_text("a", "b", "c")) == "c"
    assert len({one.access_token_key, one.refresh_token_key, one.api_key_key}) == 3
