"""The one writer: groups, durability, and what happens when the file can't be written."""

import asyncio
import os
import resource
import signal
import sqlite3
import stat
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from infra.sqlite import writer
from infra.sqlite.errors import FileUnavailable
from infra.sqlite.file import SqliteFile

NORMAL, FULL = 1, 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "file.sqlite"


@asynccontextmanager
async def open_file(path: Path, *, busy_timeout_s: float = 0.01) -> AsyncGenerator[SqliteFile]:
    file = SqliteFile(path, busy_timeout_s=busy_timeout_s)
    await file.open()
    try:
        yield file
    finally:
        await file.close()


@pytest.fixture
async def file(path: Path) -> AsyncIterator[SqliteFile]:
    async with open_file(path) as opened:
        await opened.write(
            lambda connection: connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, v BLOB)"),
            synced=True,
        )
        yield opened


def put(number: int, value: bytes = b"") -> Callable[[sqlite3.Connection], int]:
    def operation(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO t VALUES (?, ?)", (number, value))
        return number

    return operation


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT n FROM t ORDER BY n")]


def synchronous(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA synchronous").fetchone()[0]


@asynccontextmanager
async def writer_held(file: SqliteFile) -> AsyncGenerator[None]:
    """Keep the writer busy, so that what is written in the block becomes one group after it."""
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(connection: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(30)

    holding = asyncio.create_task(file.write(hold, synced=False))
    await begun.wait()
    try:
        yield
        # Once around the loop, so that the tasks of the block have put their operations.
        await asyncio.sleep(0)
    finally:
        go_on.set()
        await holding


# Groups.


async def test_what_waits_is_committed_at_once(file: SqliteFile) -> None:
    before = file.stats()
    async with writer_held(file):
        writes = [asyncio.create_task(file.write(put(number), synced=number == 9)) for number in range(50)]
    assert await asyncio.gather(*writes) == list(range(50))
    after = file.stats()
    assert (after.commits - before.commits, after.synced_commits - before.synced_commits) == (1, 1)
    assert after.operations - before.operations == 51
    assert await file.read(numbers) == list(range(50))


async def test_an_operation_that_raises_is_undone_alone(file: SqliteFile) -> None:
    def halfway(connection: sqlite3.Connection) -> None:
        put(100)(connection)
        raise LookupError("halfway")

    operations = [put(1), halfway, put(2), put(1), put(3)]
    async with writer_held(file):
        writes = [asyncio.create_task(file.write(operation, synced=False)) for operation in operations]
    one, two, three, four, five = await asyncio.gather(*writes, return_exceptions=True)
    assert (one, three, five) == (1, 2, 3)
    assert isinstance(two, LookupError)
    assert isinstance(four, sqlite3.IntegrityError)
    assert await file.read(numbers) == [1, 2, 3]


async def test_a_file_beside_another_store_syncs_every_write(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "log.sqlite", always_synced=True)
    await file.open()
    assert await file.write(synchronous, synced=False) == FULL
    await file.close()


async def test_a_group_is_synced_if_one_of_it_asks(file: SqliteFile) -> None:
    assert await file.write(synchronous, synced=False) == NORMAL
    assert await file.write(synchronous, synced=True) == FULL
    assert await file.write(synchronous, synced=False) == NORMAL
    async with writer_held(file):
        writes = [asyncio.create_task(file.write(synchronous, synced=number == 2)) for number in range(3)]
    assert await asyncio.gather(*writes) == [FULL] * 3


async def test_syncing_costs_a_commit_only_where_something_is_not_safe(file: SqliteFile) -> None:
    async def synced_commits(work: Callable[[], object]) -> int:
        before = file.stats().synced_commits
        await asyncio.ensure_future(work())  # type: ignore[arg-type]
        return file.stats().synced_commits - before

    await file.sync()
    assert await synced_commits(file.sync) == 0
    await file.write(put(1), synced=False)
    assert await synced_commits(file.sync) == 1
    assert await synced_commits(file.sync) == 0
    # A synced operation that turned out to change nothing promises as much.
    await file.write(put(2), synced=False)
    assert await synced_commits(lambda: file.write(numbers, synced=True)) == 1


async def test_reads_see_what_was_written_before_them(file: SqliteFile) -> None:
    async def write_and_read(number: int) -> bool:
        await file.write(put(number), synced=False)
        return number in await file.read(numbers)

    assert all(await asyncio.gather(*(write_and_read(number) for number in range(50))))


async def test_readers_can_not_write(file: SqliteFile) -> None:
    with pytest.raises(FileUnavailable):
        await file.read(put(1))
    assert await file.read(numbers) == []


async def test_hooks_are_called_after_the_commit_and_before_the_waiters(file: SqliteFile) -> None:
    told: list[object] = []

    async def write(number: int) -> None:
        await file.write(put(number), synced=False, after_commit=lambda result: told.append(("hook", result)))
        told.append(("waiter", number))

    async with writer_held(file):
        writes = [asyncio.create_task(write(number)) for number in (1, 2, 1)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(outcomes[2], sqlite3.IntegrityError)
    assert told == [("hook", 1), ("hook", 2), ("waiter", 1), ("waiter", 2)]


# Impatience.


async def test_a_cancelled_write_happens_once(file: SqliteFile) -> None:
    told: list[int] = []
    async with writer_held(file):
        writing = asyncio.create_task(file.write(put(1), synced=True, after_commit=told.append))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
    assert writing.cancelled()
    await file.write(put(2), synced=False)
    assert await file.read(numbers) == [1, 2]
    assert told == [1]


async def test_a_write_that_takes_too_long_is_given_up_and_happens(file: SqliteFile) -> None:
    async with writer_held(file):
        with pytest.raises(FileUnavailable, match="in time"):
            await file.write(put(1), synced=False, timeout_s=0.001)
    await file.write(put(2), synced=False)
    assert await file.read(numbers) == [1, 2]


async def test_closing_finishes_what_was_begun(path: Path) -> None:
    file = SqliteFile(path)
    await file.open()
    await file.write(lambda connection: connection.execute("CREATE TABLE t (n, v)"), synced=False)
    writes = [asyncio.create_task(file.write(put(number), synced=False)) for number in range(100)]
    await asyncio.sleep(0)
    await file.close()
    assert await asyncio.gather(*writes) == list(range(100))
    for work in (file.read(numbers), file.write(numbers, synced=False), file.ping()):
        with pytest.raises(FileUnavailable, match="not open"):
            await work
    with closing(sqlite3.connect(path)) as connection:
        assert numbers(connection) == list(range(100))
    assert not path.with_name("file.sqlite-wal").exists()


async def test_the_last_user_closes(path: Path) -> None:
    file = SqliteFile(path)
    await file.open()
    await file.open()
    await file.close()
    await file.ping()
    await file.close()
    with pytest.raises(FileUnavailable):
        await file.ping()
    await file.close()
    await file.open()
    await file.ping()
    await file.close()


# The file itself.


async def test_only_its_owner_can_read_it(file: SqliteFile, path: Path) -> None:
    await file.write(put(1), synced=False)
    for name in ("file.sqlite", "file.sqlite-wal", "file.sqlite-shm"):
        assert stat.S_IMODE(path.with_name(name).stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite"
    path.write_bytes(b"no database, but long enough to be taken for one " * 100)
    with pytest.raises(FileUnavailable, match="not a SQLite file"):
        async with open_file(path):
            pass
    with pytest.raises(FileUnavailable, match="can't be made"):
        async with open_file(path / "below a file" / "file.sqlite"):
            pass


async def test_an_idle_writer_empties_the_log_into_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_IDLE_S", 0.001)
    value = b"to be found in the file itself"
    async with open_file(path) as file:
        await file.write(lambda connection: connection.execute("CREATE TABLE t (n, v)"), synced=False)
        await file.write(put(1, value), synced=False)
        while value not in await asyncio.to_thread(path.read_bytes):
            await file.read(numbers)


async def test_a_busy_writer_keeps_the_log_small(file: SqliteFile, path: Path) -> None:
    value = bytes(1024 * 1024)
    for number in range(64):
        await file.write(put(number, value), synced=False)
        await file.read(numbers)
    assert path.with_name("file.sqlite-wal").stat().st_size < 24 * 1024 * 1024


# What can go wrong.


async def test_another_writer_is_told_of(file: SqliteFile, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(FileUnavailable, match="another process"):
            await file.write(put(1), synced=False)
        assert await file.read(numbers) == []
        other.execute("ROLLBACK")
    assert await file.write(put(1), synced=False) == 1


async def test_a_full_disk_leaves_nothing_half_done(file: SqliteFile) -> None:
    def limit(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 5}")

    await file.write(put(0), synced=True)
    await file.write(limit, synced=False)
    async with writer_held(file):
        writes = [
            asyncio.create_task(file.write(put(number, bytes(40_000 * number)), synced=True))
            for number in range(1, 4)
        ]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [FileUnavailable] * 3
    assert "disk is full" in str(outcomes[0])
    assert await file.read(numbers) == [0]
    await file.write(lambda connection: connection.execute("PRAGMA max_page_count = 1000000"), synced=False)
    await file.write(put(2, bytes(100_000)), synced=True)
    assert await file.read(numbers) == [0, 2]


@contextmanager
def no_file_may_grow(limit_bytes: int) -> Generator[None]:
    """The kernel refuses writes beyond this size, as it does on a broken disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_an_io_error_leaves_nothing_half_done(file: SqliteFile, path: Path) -> None:
    await file.write(put(0), synced=True)
    size_bytes = path.with_name("file.sqlite-wal").stat().st_size
    with no_file_may_grow(size_bytes + 100_000):
        for _ in range(2):
            with pytest.raises(FileUnavailable, match="reading or writing failed"):
                await file.write(put(1, bytes(300_000)), synced=True)
        assert await file.read(numbers) == [0]
        await file.write(put(2), synced=True)
    await file.write(put(1, bytes(300_000)), synced=True)
    assert await file.read(numbers) == [0, 1, 2]
    async with open_file(path) as again:
        assert await again.read(numbers) == [0, 1, 2]


def found(path: Path, *marks: bytes) -> set[bytes]:
    """Which of these are in the file, or in one beside it."""
    content = b"".join(one.read_bytes() for one in path.parent.iterdir())
    return {mark for mark in marks if mark in content}


async def test_what_is_replaced_or_deleted_is_not_left_in_the_file(path: Path) -> None:
    replaced, deleted = os.urandom(24), os.urandom(24)

    def insert(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, sealed BLOB)")
        rows = [(number, os.urandom(600)) for number in range(100)]
        rows += [(100, replaced + os.urandom(600)), (101, deleted + os.urandom(600)), (102, os.urandom(600))]
        connection.executemany("INSERT INTO people VALUES (?, ?)", rows)

    def erase(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE people SET sealed = ? WHERE id = 100", (b"",))
        connection.execute("DELETE FROM people WHERE id = 101")

    async with open_file(path) as file:
        await file.write(insert, synced=True)
    assert {replaced, deleted} == found(path, replaced, deleted)
    async with open_file(path) as file:
        await file.write(erase, synced=True)
    assert found(path, replaced, deleted) == set()
