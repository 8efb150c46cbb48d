"""The embedded store: one SQLite file for documents and broker log, written by one thread, in groups."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from infra.sqlite.errors import FileUnavailable, closed
from infra.sqlite.readers import Readers
from infra.sqlite.writer import CREATE_TOUCH, READ_TOUCH, TOUCH, Pending, Statistics, Writer

T = TypeVar("T")

_WAITING_MAX: Final = 1024
_READING_MAX: Final = 64


class SqliteFile:
    """The file, shared by the adapters over it: each opens it at its start and closes it at its end.

    `synced=True` waits for the disk. What was written with `synced=False` is seen by every reader and
    survives a kill of the process; it survives a power failure once any later synced write has returned.
    With `always_synced` every write waits: for a file beside another store, whose writes make none here safe.
    """

    def __init__(
        self,
        path: Path,
        *,
        readers: int = 2,
        busy_timeout_s: float = 5.0,
        timeout_s: float = 30.0,
        always_synced: bool = False,
    ) -> None:
        self._path = path
        self._always_synced = always_synced
        self._reader_threads = readers
        self._busy_timeout_s = busy_timeout_s
        self._timeout_s = timeout_s
        self._users = 0
        self._opening = asyncio.Lock()
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._waiting = asyncio.Semaphore(_WAITING_MAX)
        self._reading = asyncio.Semaphore(_READING_MAX)

    async def open(self) -> None:
        """Start the threads, unless somebody has. Raises FileUnavailable when the file can't be opened."""
        async with self._opening:
            if self._users == 0:
                loop = asyncio.get_running_loop()
                self._writer = Writer(self._path, self._busy_timeout_s, loop, self._deliver)
                self._readers = Readers(self._path, self._busy_timeout_s, threads=self._reader_threads)
                self._writer.start()
                try:
                    await self.write(_executes(CREATE_TOUCH), synced=True)
                except BaseException:
                    await self._stop()
                    raise
            self._users += 1

    async def close(self) -> None:
        """When the last user closes: finish what is queued, then close the file. Once more does no harm."""
        async with self._opening:
            if self._users == 0:
                return
            self._users -= 1
            if self._users == 0:
                await self._stop()

    async def write(
        self,
        operation: Callable[[sqlite3.Connection], T],
        *,
        synced: bool,
        after_commit: Callable[[T], None] | None = None,
        timeout_s: float | None = None,
    ) -> T:
        """Run an operation in the writer's thread, in a transaction, and return when it is committed.

        What the operation raises undoes it alone and is raised here. `after_commit` is called on the loop
        with its result, before anybody who waits for the same commit goes on. A caller who is cancelled or
        loses patience (FileUnavailable) does not stop the operation: it happens once, told or not.
        """
        writer = self._writer
        if writer is None:
            raise closed()
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                await self._waiting.acquire()
                future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
                writer.put(Pending(operation, synced or self._always_synced, after_commit, future))
                return await future
        except TimeoutError:
            raise FileUnavailable("the database file does not answer in time") from None

    async def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation that only reads, in a thread. It sees what was written before the call."""
        readers = self._readers
        if readers is None:
            raise closed()
        try:
            async with asyncio.timeout(self._timeout_s), self._reading:
                return await readers.run(operation)
        except TimeoutError:
            raise FileUnavailable("the database file does not answer in time") from None

    async def sync(self) -> None:
        """Make everything that was written before this call safe from a power failure."""
        await self.write(_nothing, synced=True)

    async def ping(self) -> None:
        """Raises FileUnavailable unless the file can be written and read."""
        await self.write(_executes(TOUCH), synced=False)
        await self.read(_executes(READ_TOUCH))

    def stats(self) -> Statistics:
        if self._writer is None:
            raise closed()
        return self._writer.stats()

    def _deliver(self, group: Sequence[Pending]) -> None:
        for pending in group:
            self._waiting.release()
            if pending.after_commit is not None and pending.error is None:
                pending.after_commit(pending.result)
        for pending in group:
            if pending.future.done():
                continue  # Nobody waits any more.
            if pending.error is not None:
                pending.future.set_exception(pending.error)
            else:
                pending.future.set_result(pending.result)

    async def _stop(self) -> None:
        writer, readers = self._writer, self._readers
        self._writer = self._readers = None
        if readers is not None:
            readers.stop()
            await asyncio.to_thread(readers.join)
        if writer is not None:
            # Last, because the last connection to close checkpoints, and only this one may.
            writer.stop()
            await asyncio.to_thread(writer.join)


def _executes(sql: str) -> Callable[[sqlite3.Connection], None]:
    def operation(connection: sqlite3.Connection) -> None:
        connection.execute(sql).fetchall()

    return operation


def _nothing(connection: sqlite3.Connection) -> None:
    """Asks for a commit, and for nothing else."""
