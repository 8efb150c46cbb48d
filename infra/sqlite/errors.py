"""Telling a file that can't be used now from a statement that was refused."""

import sqlite3
from typing import Final

_UNUSABLE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)

_REASONS: Final = {
    sqlite3.SQLITE_BUSY: "another process writes to it",
    sqlite3.SQLITE_LOCKED: "another process writes to it",
    sqlite3.SQLITE_READONLY: "it can't be written to",
    sqlite3.SQLITE_IOERR: "reading or writing failed",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite file",
}


class FileUnavailable(Exception):
    """The file can't be used now (full disk, I/O error, another writer, no answer): try again later."""


def _primary_code(error: sqlite3.Error) -> int:
    # The low byte of an extended result code; errors raised by the Python module itself have none.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def is_unusable(error: Exception) -> bool:
    """Whether an error speaks of the file rather than of the statement that met it."""
    return isinstance(error, sqlite3.Error) and _primary_code(error) in _UNUSABLE


def closed() -> FileUnavailable:
    return FileUnavailable("the database file is not open")


def unavailable(error: sqlite3.Error | FileUnavailable) -> FileUnavailable:
    """The error to raise above this package; it names the reason, never a path or a value."""
    if isinstance(error, FileUnavailable):
        return FileUnavailable(str(error))
    reason = _REASONS.get(_primary_code(error), "the engine refused")
    return FileUnavailable(f"the database file can't be used: {reason}")
