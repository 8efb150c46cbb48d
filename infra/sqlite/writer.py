"""The one thread that writes: whatever waits is run in one transaction and committed once."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from infra.sqlite.connections import open_writer
from infra.sqlite.errors import FileUnavailable, is_unusable, unavailable

# Bounds how long the first of a group waits for the last.
_GROUP_MAX: Final = 256

# After so long without a write the log is copied into the file, so that this seldom meets somebody who waits.
_IDLE_S: Final = 1.0

CREATE_TOUCH: Final = "CREATE TABLE IF NOT EXISTS touch (id INTEGER PRIMARY KEY, count INTEGER NOT NULL)"
TOUCH: Final = "INSERT INTO touch VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1"
READ_TOUCH: Final = "SELECT count FROM touch"


@dataclass(frozen=True)
class Statistics:
    """What was committed since the file was opened. `synced_commits` of the `commits` waited for the disk."""

    commits: int
    synced_commits: int
    operations: int


@dataclass(eq=False)
class Pending:
    """An operation that waits for the writer, and what became of it."""

    operation: Callable[[sqlite3.Connection], Any]
    synced: bool
    after_commit: Callable[[Any], None] | None
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


@dataclass(eq=False)
class Writer:
    """Runs operations in the order in which they were put, as many at a time as are waiting.

    Each runs in a savepoint of its own, so that one that raises is undone alone. The group is synced to disk
    if one of its operations asks for it. `deliver` is called on the loop, once a group, after its commit.
    """

    path: Path
    busy_timeout_s: float
    loop: asyncio.AbstractEventLoop
    deliver: Callable[[Sequence[Pending]], None]
    _queue: SimpleQueue[Pending | None] = field(default_factory=SimpleQueue[Pending | None])
    _connection: sqlite3.Connection | None = None
    _synced: bool = True
    _stopping: bool = False
    _unsynced: bool = False
    _unchecked: bool = False
    _commits: int = 0
    _synced_commits: int = 0
    _operations: int = 0

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, pending: Pending) -> None:
        self._queue.put(pending)

    def stop(self) -> None:
        """Let the thread end after what has been put so far. Then `join` it."""
        self._queue.put(None)

    def join(self) -> None:
        self._thread.join()

    def stats(self) -> Statistics:
        return Statistics(self._commits, self._synced_commits, self._operations)

    def _run(self) -> None:
        while not self._stopping:
            self._serve(self._next_group())
        if self._connection is not None:
            self._connection.close()

    def _serve(self, group: list[Pending]) -> None:
        if not group:
            return
        try:
            self._commit(group)
        except (sqlite3.Error, FileUnavailable) as error:
            self._abandon(error)
            for pending in group:
                pending.result, pending.error = None, unavailable(error)
        self.loop.call_soon_threadsafe(self.deliver, group)

    def _next_group(self) -> list[Pending]:
        group: list[Pending] = []
        pending = self._wait()
        while pending is not None:
            group.append(pending)
            if len(group) == _GROUP_MAX:
                return group
            try:
                pending = self._queue.get_nowait()
            except Empty:
                return group
        self._stopping = True
        return group

    def _wait(self) -> Pending | None:
        if self._unchecked:
            try:
                return self._queue.get(timeout=_IDLE_S)
            except Empty:
                self._checkpoint()
        return self._queue.get()

    def _commit(self, group: Sequence[Pending]) -> None:
        connection = self._connected()
        synced = any(pending.synced for pending in group)
        if synced != self._synced:
            # A synced commit makes every commit before it safe, too: the log is synced as a whole.
            connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._synced = synced
        changes = connection.total_changes
        connection.execute("BEGIN IMMEDIATE")
        for pending in group:
            self._perform(connection, pending)
        if synced and self._unsynced and connection.total_changes == changes:
            # A commit of nothing would not sync the log, which earlier operations left to this one.
            connection.execute(TOUCH)
        connection.execute("COMMIT")
        self._operations += len(group)
        if connection.total_changes != changes:
            self._commits += 1
            self._synced_commits += synced
            self._unsynced = not synced
            self._unchecked = True

    def _perform(self, connection: sqlite3.Connection, pending: Pending) -> None:
        connection.execute("SAVEPOINT operation")
        try:
            pending.result = pending.operation(connection)
        except Exception as error:
            # What an operation raises belongs to who asked for it, unless nothing can be written at all.
            if is_unusable(error):
                raise
            pending.error = error
            connection.execute("ROLLBACK TO operation")
        connection.execute("RELEASE operation")

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_writer(self.path, self.busy_timeout_s)
            self._synced = True
        return self._connection

    def _abandon(self, error: sqlite3.Error | FileUnavailable) -> None:
        """Undo the group. A connection that can't do that, or that met an I/O error, is not used again."""
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            keep = getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL}
        except sqlite3.Error:
            keep = False
        if not keep:
            connection.close()
            self._connection = None

    def _checkpoint(self) -> None:
        """Copy the log into the file. If that fails nothing is lost: the log has it, for the next time."""
        self._unchecked = False
        try:
            self._connected().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except (sqlite3.Error, FileUnavailable) as error:
            self._abandon(error)
