"""What is particular to MongoDB; the rest is in the contracts of documents and key stores."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from pydantic import Field

from infra.clock import SystemClock
from infra.documents.mongodb import MongoDocuments
from infra.documents.port import AlreadyExists, Collection, Documents, DocumentsUnavailable, Index
from infra.keys.errors import KeyStoreUnavailable
from infra.keys.from_url import open_key_store
from infra.keys.store import WrappedKey
from infra.mongodb.address import MongoAddress
from infra.mongodb.connection import MongoConnection
from infra.refused import StoreRefused
from infra.starting import started
from schemas.records import Record
from tests.servers import secantus
from tests.servers.certificates import make_certificates
from tests.servers.secantus import MongoServer

pytestmark = pytest.mark.system

HERE = UUID(int=1)


class Thing(Record):
    size: int = 0
    serial: str | None = None
    data: dict[str, Any] = Field(default_factory=dict[str, Any])


THINGS = Collection("things", Thing, (Index(("size",)), Index(("serial",), unique=True)))


class LargerThing(Thing):
    weight: float = 1.5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with secantus.running(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with secantus.running(tmp_path_factory.mktemp("locked"), locked=True) as running:
        yield running


def address(server: MongoServer, database: str = "") -> MongoAddress:
    ca_file = server.certificates.ca if server.certificates else None
    return MongoAddress(server.url, database or f"tests-{uuid4().hex}", "documents", "FACEID_X", ca_file)


@asynccontextmanager
async def opened(
    at: MongoAddress, collections: Sequence[Collection[Any]] = (THINGS,)
) -> AsyncGenerator[Documents]:
    documents = MongoDocuments(MongoConnection(at))
    await documents.start(collections)
    try:
        yield documents
    finally:
        await documents.close()


# Getting in.


async def test_tls_and_a_password_let_us_in(locked: MongoServer) -> None:
    async with opened(address(locked)) as documents:
        await documents.insert(THINGS, HERE, Thing(id="a"))
        assert await documents.get(THINGS, HERE, "a") == Thing(id="a")


@pytest.mark.parametrize(
    ("credentials", "trusting", "reason"),
    [
        ("faceid:hunter2@", True, "does not let us in"),
        ("faceid:hunter2@", False, "TLS failed (CERTIFICATE_VERIFY_FAILED)"),
        ("", True, "does not let us in"),
    ],
)
async def test_who_is_not_let_in_is_told_in_one_line_at_once(
    locked: MongoServer, tmp_path: Path, credentials: str, trusting: bool, reason: str
) -> None:
    at = replace(address(locked), url=f"mongodb://{credentials}{locked.address}/?tls=true")
    if not trusting:
        at = replace(at, ca_file=make_certificates(tmp_path).ca)
    with pytest.raises(StoreRefused) as refusal:
        await started("documents", lambda: _start(at), SystemClock())
    told = str(refusal.value)
    assert reason in told
    assert told.startswith(f"documents: MongoDB at {locked.address}: ")
    assert "FACEID_X" in told
    assert "hunter2" not in told
    assert "\n" not in told


async def test_who_may_make_nothing_works_on_what_was_set_up_by_another(
    locked: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, bare = address(locked), Collection("bare", Thing)
    service = replace(at, url=locked.url_as(secantus.SERVICE, secantus.PASSWORD))
    with pytest.raises(StoreRefused, match="user, password and roles"):
        await _start(service)
    async with opened(at, [THINGS, bare]):
        pass
    with locked.client() as client:
        things = client[at.database]["things"]
        assert "bare" in client[at.database].list_collection_names(), "made, although no index makes it"
        things.create_index([("data", 1)], name="i_of_a_former_version")
        # A day after an upgrade: it is not the service that drops it.
        await _start(at)
        monkeypatch.setattr("infra.mongodb.indexes.RETIRED_FOR", timedelta(0))
        async with opened(service, [THINGS, bare]) as documents:
            for collection in (THINGS, bare):
                await documents.insert(collection, HERE, Thing(id="a", size=1))
            found = await documents.find(THINGS, HERE, where={"size": 1})
            assert [thing.id for thing in found.items] == ["a"]
        assert "i_of_a_former_version" in things.index_information()
        await _start(at)
        assert "i_of_a_former_version" not in things.index_information()


@pytest.mark.parametrize(
    "url", ["mongodb://ann:hunter2@host:x/", "mongodb://ann:hunter2/@host/", "http://ann:hunter2@host/", ""]
)
async def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    at = MongoAddress(url, "records", "documents", "FACEID_X")
    with pytest.raises(StoreRefused) as refusal:
        await _start(at)
    assert str(refusal.value) == "documents: FACEID_X is not a MongoDB URL that can be used"
    assert "hunter2" not in repr(at)


async def test_a_certificate_file_that_is_not_there_is_told() -> None:
    at = MongoAddress("mongodb://127.0.0.1:1/", "records", "documents", "FACEID_X", Path("/nowhere/ca.pem"))
    with pytest.raises(StoreRefused, match="certificate"):
        await _start(at)


async def test_a_server_that_comes_up_later_is_waited_for(tmp_path: Path) -> None:
    with secantus.running(tmp_path, up=False) as later:
        at = address(later)
        with structlog.testing.capture_logs() as lines:
            starting = asyncio.create_task(started("documents", lambda: _start(at), SystemClock()))
            await asyncio.to_thread(later.restart)
            await starting
        assert [line["event"] for line in lines][-1:] in (["store_answers"], [])


async def _start(at: MongoAddress) -> None:
    async with opened(at):
        pass


# Going down.


async def test_every_write_that_was_told_of_is_there_after_the_server_was_killed(tmp_path: Path) -> None:
    written: dict[str, int] = {}
    stop = asyncio.Event()

    async def write(documents: Documents, number: int) -> None:
        """New records, each changed at once; alone with them, so that False could only be a lie."""
        for turn in range(10**6):
            if stop.is_set():
                return
            thing = Thing(id=f"{number}-{turn}", size=1)
            try:
                await documents.insert(THINGS, HERE, thing)
                written[thing.id] = 1
                changed = thing.model_copy(update={"size": 2, "version": 2})
                assert await documents.compare_and_set(THINGS, HERE, changed, expected={"version": 1})
                written[thing.id] = 2
            except DocumentsUnavailable:
                continue

    with secantus.running(tmp_path) as dying:
        async with opened(address(dying)) as documents:
            writers = [asyncio.create_task(write(documents, number)) for number in range(8)]
            for _ in range(3):
                enough = len(written) + 100
                while len(written) < enough:
                    await asyncio.wait(writers, timeout=0.01)
                    assert not any(task.done() for task in writers), [task.exception() for task in writers]
                await asyncio.to_thread(dying.kill)
                await asyncio.to_thread(dying.restart)
            stop.set()
            await asyncio.gather(*writers)
            there = await documents.get_many(THINGS, HERE, list(written))
    print(f"{len(written)} records told of, {sum(written.values())} writes, 3 kills")
    lost = [name for name, size in written.items() if name not in there or there[name].size < size]
    assert lost == []


async def test_a_write_that_the_driver_sent_twice_is_told_as_done(
    server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that has forgotten the first, as one is that was killed and keeps no record of retries."""
    monkeypatch.setattr("infra.mongodb.records.write_number", lambda: b"the same one")
    old, new = Thing(id="a", serial="s"), Thing(id="a", serial="s", size=2, version=2)
    async with opened(address(server)) as documents:
        for _ in range(2):
            await documents.insert(THINGS, HERE, old)
        for _ in range(2):
            assert await documents.compare_and_set(THINGS, HERE, new, expected={"version": 1})
        monkeypatch.undo()
        assert not await documents.compare_and_set(THINGS, HERE, new, expected={"version": 1})
        with pytest.raises(AlreadyExists):
            await documents.insert(THINGS, HERE, old)


async def test_a_server_that_hangs_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.mongodb.connection.CALL_S", 0.5)
    with secantus.running(tmp_path) as hanging:
        async with opened(address(hanging)) as documents:
            hanging.pause()
            try:
                for call in (documents.get(THINGS, HERE, "a"), documents.insert(THINGS, HERE, Thing(id="a"))):
                    with pytest.raises(DocumentsUnavailable):
                        await call
                with pytest.raises(DocumentsUnavailable):
                    await documents.ping()
            finally:
                hanging.go_on()
            # After three silences it is left alone for a moment.
            await started("documents", documents.ping, SystemClock())


# Coming up beside what is there.


async def test_several_processes_may_start_at_once(server: MongoServer) -> None:
    at = address(server)
    await asyncio.gather(*(_start(at) for _ in range(5)))
    async with opened(at) as documents:
        await documents.insert(THINGS, HERE, Thing(id="a", serial="s"))
        with pytest.raises(AlreadyExists):
            await documents.insert(THINGS, HERE, Thing(id="b", serial="s"))


async def test_an_index_of_ours_over_other_fields_is_replaced(
    server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = address(server)
    with server.client() as client:
        things = client[at.database]["things"]
        things.create_index([("serial", 1)], name="i_size")
        things.create_index([("size", 1)], name="u_of_a_former_version", unique=True)
        things.create_index([("data", 1)], name="i_of_a_former_version")
        things.create_index([("note", 1)], name="of the operator")
        await _start(at)
        # Older processes may still read by it, for a day.
        assert "i_of_a_former_version" in things.index_information()
        monkeypatch.setattr("infra.mongodb.indexes.RETIRED_FOR", timedelta(0))
        await _start(at)
        keys = {name: [key for key, _ in one["key"]] for name, one in things.index_information().items()}
    assert keys == {
        "_id_": ["_id"],
        "i_size": ["_company", "size", "id"],
        "i_serial": ["_company", "serial", "id"],
        "u_serial": ["_company", "serial"],
        "of the operator": ["note"],
    }


async def test_two_versions_run_side_by_side(server: MongoServer) -> None:
    at, newer = address(server), Collection("things", Thing, (Index(("serial",), unique=True),))
    async with opened(at) as old:
        await old.insert(THINGS, HERE, Thing(id="a", size=1))
        async with opened(at, [newer]) as new:
            await new.insert(newer, HERE, Thing(id="b", size=1))
            found = await old.find(THINGS, HERE, where={"size": 1})
            assert [thing.id for thing in found.items] == ["a", "b"]
        async with opened(at):
            pass
        with server.client() as client:
            assert list(client[at.database]["_retired_indexes"].find()) == []


async def test_an_index_of_others_in_the_way_is_told(server: MongoServer) -> None:
    at = address(server)
    with server.client() as client:
        client[at.database]["things"].create_index([("_company", 1), ("size", 1), ("id", 1)], name="theirs")
    with pytest.raises(StoreRefused, match="index of others"):
        await _start(at)


async def test_what_expires_is_removed_by_the_server_too(server: MongoServer) -> None:
    class Passing(Record):
        until: datetime | None = None

    passing = Collection("passing", Passing, expires_field="until")
    at, until = address(server), datetime(2126, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)
    async with opened(at, [passing]) as documents:
        await documents.insert(passing, HERE, Passing(id="a", until=until))
        await documents.insert(passing, HERE, Passing(id="b"))
    with server.client(tz_aware=True) as client:
        stored = client[at.database]["passing"]
        assert stored.index_information()["expiry"]["expireAfterSeconds"] == 300
        dates = {document["id"]: document.get("_expires") for document in stored.find()}
    # A date of BSON has milliseconds, and comes rather too late.
    assert dates == {"a": until.replace(microsecond=124_000), "b": None}


async def test_a_field_that_a_model_has_gained_is_found_in_older_records(server: MongoServer) -> None:
    at = address(server)
    async with opened(at) as documents:
        await documents.insert(THINGS, HERE, Thing(id="a"))
    larger = Collection("things", LargerThing, (Index(("weight",)),))
    async with opened(at, [larger]) as documents:
        found = await documents.find(larger, HERE, where={"weight": 1.5})
        assert found.items == (LargerThing(id="a"),)
        heavier = LargerThing(id="a", weight=2)
        assert await documents.compare_and_set(larger, HERE, heavier, expected={"weight": 1.5})


async def test_what_is_no_scalar_comes_back_whatever_its_keys(server: MongoServer) -> None:
    data = {"$set": {"a.b": [1, 2**70, 0.1, None, "\x00"]}, "": {"_id": True}, "é": {}}
    async with opened(address(server)) as documents:
        await documents.insert(THINGS, HERE, Thing(id="a", data=data))
        assert await documents.get(THINGS, HERE, "a") == Thing(id="a", data=data)


# Keys.


def key_store_url(server: MongoServer, database: str) -> str:
    before, _, options = server.url.partition("?")
    return f"{before}{database}?{options}"


async def test_keys_that_can_not_be_asked_for_are_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.mongodb.connection.CALL_S", 2)
    wrapped = WrappedKey(master_fingerprint="00", wrapped=b"sealed", created_at=datetime.now(UTC))
    with secantus.running(tmp_path) as dying:
        store = open_key_store(key_store_url(dying, "keys"))
        await store.initialise("00")
        await store.create(HERE, wrapped)
        dying.kill()
        calls = (store.get(HERE), store.get(UUID(int=2)), store.check("00"), store.delete(HERE))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers] == [KeyStoreUnavailable] * 4
        await asyncio.to_thread(dying.restart)
        # After three silences it is left alone for a moment.
        assert await started("key store", lambda: store.get(HERE), SystemClock()) == wrapped
        await store.close()


async def test_a_key_store_that_does_not_let_us_in_is_told_in_one_line(locked: MongoServer) -> None:
    assert locked.certificates is not None
    url = locked.url_as("faceid", "hunter2").replace("/?", "/keys?authSource=admin&")
    store = open_key_store(f"{url}&tlsCAFile={locked.certificates.ca}")
    with pytest.raises(StoreRefused, match=r"^key store: .*FACEID_KEY_STORE") as refusal:
        await store.check("00")
    assert "hunter2" not in str(refusal.value)
    await store.close()


def test_a_key_store_serves_one_loop_after_another(server: MongoServer) -> None:
    store = open_key_store(key_store_url(server, f"keys-{uuid4().hex}"))

    async def use() -> None:
        await store.initialise("00")
        await store.close()

    for _ in range(2):
        asyncio.run(use())
