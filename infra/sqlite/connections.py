"""Opening connections to the file: one that writes, and any number that only read."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from infra.sqlite.errors import FileUnavailable

# Photos travel through the log inline, 100 kB and more each: with the default of 4 KiB, appending one takes
# twice as long as with 8 KiB; 16 KiB gains nothing more.
_PAGE_BYTES: Final = 8192

_CACHE_KIB: Final = 32 * 1024

# The writer copies the write-ahead log into the file when it has nothing else to do. This bounds the log
# where there is no such moment.
_CHECKPOINT_PAGES: Final = 16 * 1024 * 1024 // _PAGE_BYTES

# The log's file is kept and written over rather than cut: a sync of blocks that exist already is cheaper.
_LOG_FILE_BYTES: Final = 64 * 1024 * 1024

_CACHED_STATEMENTS: Final = 512

# Dropped columns, and RETURNING.
_OLDEST_SQLITE: Final = (3, 35, 0)


def open_writer(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """The file's only writing connection, in autocommit; the file is made (0600) when it is not there.

    Nobody else may write or checkpoint: SQLite before 3.51.3 can lose pages when a checkpoint on one
    connection meets a commit on another (sqlite.org/wal.html#walresetbug).
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise FileUnavailable(f"this Python comes with SQLite {sqlite3.sqlite_version}; 3.35 is needed")
    _create(path)
    connection = sqlite3.connect(
        path, timeout=busy_timeout_s, isolation_level=None, cached_statements=_CACHED_STATEMENTS
    )
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        _use_log(connection)
        connection.execute("PRAGMA synchronous = FULL")
        # macOS only, where a plain sync leaves the data in the disk's own cache.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_FILE_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        # What is erased is written over where that costs no write of its own: in pages that stay in use.
        # Those that are freed whole keep what they had; of messages that is ciphertext whose key is gone.
        connection.execute("PRAGMA secure_delete = FAST")
    except (sqlite3.Error, FileUnavailable):
        connection.close()
        raise
    return connection


def open_reader(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection that can't write and never checkpoints. Made and closed in different threads."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
        cached_statements=_CACHED_STATEMENTS,
        check_same_thread=False,
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _use_log(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise FileUnavailable("the database file's file system allows no write-ahead log")


def _create(path: Path) -> None:
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        # A synced commit promises that the file itself is there after a power failure, too.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise FileUnavailable("the database file can't be made") from error
