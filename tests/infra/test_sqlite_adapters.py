"""What is particular to documents and broker in one SQLite file; the rest is in their contracts."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from infra.broker.inbox import Inboxes
from infra.broker.port import BrokerUnavailable, Delivery, OutgoingMessage, Subscription, Topic
from infra.broker.sqlite import SqliteBroker
from infra.clock import ManualClock, system_entropy
from infra.documents.planner import Listing
from infra.documents.port import Collection, DocumentsError, DocumentsUnavailable, Index, Range
from infra.documents.sqlite import SqliteDocuments
from infra.sqlite import planner
from infra.sqlite.file import SqliteFile
from infra.sqlite.table import Table
from schemas.records import Record

HERE = UUID(int=1)
JOBS = Topic("jobs", partitions=1, keyed=False, retention_s=3600)


class Thing(Record):
    label: str = ""
    secret: int = 0
    weight: int = 0


THINGS: Collection[Any] = Collection("things", Thing, (Index(("label",)), Index(("weight",))))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.sqlite"


@pytest.fixture
async def file(path: Path) -> SqliteFile:
    return SqliteFile(path, busy_timeout_s=0.01)


@pytest.fixture
async def documents(file: SqliteFile) -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(file)
    await documents.start([THINGS])
    yield documents
    await documents.close()


@asynccontextmanager
async def open_broker(file: SqliteFile) -> AsyncGenerator[SqliteBroker]:
    broker = SqliteBroker(file, ManualClock())
    await broker.start([JOBS])
    yield broker
    await broker.close()


@pytest.fixture
async def broker(file: SqliteFile) -> AsyncIterator[SqliteBroker]:
    async with open_broker(file) as broker:
        yield broker


def messages(*values: str) -> list[OutgoingMessage]:
    return [OutgoingMessage(b"k", value.encode()) for value in values]


async def fetch(subscription: Subscription, max_messages: int = 1000) -> list[Delivery]:
    return await subscription.fetch(max_messages=max_messages, max_bytes=1 << 30, wait_s=0)


async def test_documents_and_broker_share_a_commit(
    file: SqliteFile, documents: SqliteDocuments, broker: SqliteBroker
) -> None:
    before = file.stats()
    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(documents.insert(THINGS, HERE, Thing(id=f"{number}")))
            group.create_task(broker.publish(JOBS, messages(f"{number}")))
    after = file.stats()
    assert after.operations - before.operations == 200
    # The first may go alone; what comes meanwhile goes together.
    assert after.commits - before.commits <= 4


async def test_a_file_that_can_not_be_written_is_told_and_recovers(
    path: Path, documents: SqliteDocuments, broker: SqliteBroker
) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for refused in (
            documents.insert(THINGS, HERE, Thing(id="a")),
            documents.delete(THINGS, HERE, "a"),
            documents.sync(),
            documents.ping(),
        ):
            with pytest.raises(DocumentsUnavailable):
                await refused
        for unheard in (broker.publish(JOBS, messages("a")), broker.ping(), broker.subscribe(JOBS, "other")):
            with pytest.raises(BrokerUnavailable):
                await unheard
        assert await documents.get(THINGS, HERE, "a") is None
        other.execute("ROLLBACK")
    await documents.insert(THINGS, HERE, Thing(id="a"))
    await broker.publish(JOBS, messages("b"))
    assert [(delivery.offset, delivery.value) for delivery in await fetch(subscription)] == [(0, b"b")]


async def test_done_can_be_said_again_after_a_failure(path: Path, broker: SqliteBroker) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    await broker.publish(JOBS, messages("a", "b"))
    deliveries = await fetch(subscription)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BrokerUnavailable):
            await subscription.done(deliveries)
        other.execute("ROLLBACK")
    assert (await broker.lag(JOBS, "g")).messages == 2
    await subscription.done(deliveries)
    assert (await broker.lag(JOBS, "g")).messages == 0


async def test_a_cancelled_publish_is_delivered_all_the_same(broker: SqliteBroker) -> None:
    subscription = await broker.subscribe(JOBS, "g")
    publishing = asyncio.create_task(broker.publish(JOBS, messages("a")))
    await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.wait([publishing])
    await broker.publish(JOBS, messages("b"))
    assert [delivery.value for delivery in await fetch(subscription)] == [b"a", b"b"]


async def test_an_orderly_leave_says_exactly_what_was_begun(broker: SqliteBroker) -> None:
    first = await broker.subscribe(JOBS, "g")
    await broker.publish(JOBS, messages(*"abcdef"))
    await first.done((await fetch(first, 3))[:1])
    await first.close()
    again = await fetch(await broker.subscribe(JOBS, "g"))
    assert [(delivery.value, delivery.redelivered) for delivery in again] == [
        (b"b", True),
        (b"c", True),
        (b"d", False),
        (b"e", False),
        (b"f", False),
    ]


async def test_a_death_is_followed_by_a_careful_guess(path: Path, broker: SqliteBroker) -> None:
    await broker.publish(JOBS, messages(*(f"{number}" for number in range(500))))
    dying = await broker.subscribe(JOBS, "g")
    begun = 0
    for number in (1, 30, 40, 60):
        deliveries = await fetch(dying, number)
        begun += number
        await dying.done(deliveries[: number // 2])
        # Somebody who takes over now, the other member being gone without a word.
        async with open_broker(SqliteFile(path)) as successor:
            again = await fetch(await successor.subscribe(JOBS, "g"))
        told = [delivery.offset for delivery in again if delivery.redelivered]
        assert told == list(range(again[0].offset, again[0].offset + len(told)))
        assert begun <= told[-1] + 1 <= begun + 64
        # The successor has left in order; what it has marked is taken back, as it began with nothing.
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE group_positions SET handed_out = ?", (told[-1] + 1,))


async def test_an_inbox_keeps_the_newest_hints() -> None:
    inboxes = Inboxes(system_entropy, hints_max=2)
    inbox = inboxes.open()
    hints = [(uuid4(), uuid4()) for _ in range(3)]
    for hint in hints:
        inboxes.put(inbox.address, *hint)
    assert [await inbox.receive(), await inbox.receive()] == hints[1:]
    inboxes.close()


async def test_a_record_that_fits_no_more_is_told_without_its_values(
    path: Path, documents: SqliteDocuments
) -> None:
    await documents.insert(THINGS, HERE, Thing(id="a"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE d_things SET body = ?", ('{"id": "a", "secret": "a private thing"}',))
    with pytest.raises(DocumentsError) as refused:
        await documents.get(THINGS, HERE, "a")
    assert "private" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    "indexes",
    [
        (Index(("missing",)),),
        (Index(()),),
        (Index(("id",)),),
        (Index(("label", "label")),),
    ],
)
async def test_a_declaration_that_makes_no_sense_is_refused(path: Path, indexes: tuple[Index, ...]) -> None:
    documents = SqliteDocuments(SqliteFile(path))
    with pytest.raises(DocumentsError):
        await documents.start([Collection("things", Thing, indexes)])
    with pytest.raises(DocumentsError):
        await documents.start([Collection("Bobby'; DROP TABLE", Thing)])


async def test_a_start_that_was_cut_short_begins_again(path: Path) -> None:
    more: Collection[Any] = Collection("things", Thing, (Index(("label",)), Index(("secret",))))
    documents = SqliteDocuments(SqliteFile(path))
    await documents.start([THINGS])
    await asyncio.gather(*(documents.insert(THINGS, HERE, Thing(id=f"{n}", secret=n % 3)) for n in range(30)))
    await documents.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        # As far as a start got that was killed before the column was filled.
        connection.execute("ALTER TABLE d_things ADD COLUMN f_secret INTEGER")
    await documents.start([more])
    assert await documents.group_count(more, HERE, "secret") == {0: 10, 1: 10, 2: 10}
    await documents.close()


@pytest.mark.parametrize("descending", [False, True])
async def test_a_page_of_a_range_costs_what_any_page_costs_however_deep_it_lies(
    documents: SqliteDocuments, path: Path, descending: bool
) -> None:
    for weight in range(600):
        await documents.insert(THINGS, HERE, Thing(id=f"t-{weight:03}", weight=weight), synced=False)

    def cost(after: int, within: Range | None) -> int:
        listing = Listing(("weight", "id"), descending, (after, f"t-{after:03}"), 10)
        statement = planner.find(Table(THINGS), HERE.bytes, {}, within, listing)
        assert statement is not None
        steps: list[int] = []
        with closing(sqlite3.connect(path)) as connection:
            connection.set_progress_handler(lambda: steps.append(after), 1)
            assert len(connection.execute(statement.sql, statement.values).fetchall()) == 10
        return len(steps)

    for within in (Range("weight", start=1), Range("weight", end=599), Range("weight", start=1, end=599)):
        for after in (50, 300, 550):
            assert cost(after, within) < 1.2 * cost(after, None)
