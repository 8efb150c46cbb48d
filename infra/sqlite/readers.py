"""A few threads that read, each over a connection of its own, beside the one that writes."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from infra.sqlite.connections import open_reader
from infra.sqlite.errors import closed, is_unusable, unavailable

T = TypeVar("T")


class Readers:
    """Runs operations that only read. What was committed before one begins is seen by it."""

    def __init__(self, path: Path, busy_timeout_s: float, *, threads: int) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sqlite-reader")
        self._local = threading.local()
        self._open: set[sqlite3.Connection] = set()
        self._lock = threading.Lock()
        self._stopped = False

    async def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        if self._stopped:
            raise closed()
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._perform, operation)

    def stop(self) -> None:
        """Take nothing new. Then `join`."""
        self._stopped = True

    def join(self) -> None:
        """Wait for what runs, then close the connections. Blocks: call it in a thread."""
        self._pool.shutdown(wait=True)
        for connection in self._open:
            connection.close()
        self._open.clear()

    def _perform(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return operation(self._connected())
        except sqlite3.Error as error:
            if not is_unusable(error):
                raise
            self._drop()
            raise unavailable(error) from error

    def _connected(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = open_reader(self._path, self._busy_timeout_s)
            self._local.connection = connection
            with self._lock:
                self._open.add(connection)
        return connection

    def _drop(self) -> None:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            return
        self._local.connection = None
        with self._lock:
            self._open.discard(connection)
        connection.close()
