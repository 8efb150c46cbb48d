"""Reading and writing one collection's records over a connection, in the transaction of the caller."""

import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

from infra.documents.port import AlreadyExists, Scalar
from infra.sqlite.table import Table, TableIndex, column
from schemas.records import Record

R = TypeVar("R", bound=Record)

# How many records one statement looks for.
_IDS: Final = 500


def insert(connection: sqlite3.Connection, table: Table[R], company_id: bytes, record: R, body: str) -> None:
    """Add a record. When this raises AlreadyExists, the caller undoes what was begun."""
    names = ["company_id", "id", "body", *(column(field.name) for field in table.columns)]
    try:
        connection.execute(
            f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({_placeholders(len(names))})",
            (company_id, record.id, body, *table.values(record)),
        )
    except sqlite3.IntegrityError as error:
        if _is_stored(connection, table, company_id, record.id):
            raise AlreadyExists(table.collection.name, ("id",)) from error
        raise _collision(connection, table, table.main_indexes, company_id, record) from error
    for index in table.list_indexes:
        _link(connection, table, index, company_id, record)


def replace(
    connection: sqlite3.Connection,
    table: Table[R],
    company_id: bytes,
    record: R,
    body: str,
    expected: Mapping[str, Scalar],
) -> bool:
    """Put a record in the place of the one with its id, if that has the expected values."""
    row: tuple[int, str] | None = connection.execute(
        f"SELECT key, body FROM {table.name} WHERE company_id = ? AND id = ?", (company_id, record.id)
    ).fetchone()
    if row is None:
        return False
    key, stored = row[0], table.parse(row[1])
    for name, value in expected.items():
        field = table.field(name)
        if field.encode(getattr(stored, name)) != field.encode(value):
            return False
    assignments = "".join(f", {column(field.name)} = ?" for field in table.columns)
    try:
        connection.execute(
            f"UPDATE {table.name} SET body = ?{assignments} WHERE key = ?", (body, *table.values(record), key)
        )
    except sqlite3.IntegrityError as error:
        raise _collision(connection, table, table.main_indexes, company_id, record) from error
    relink(connection, table, company_id, record, before=stored)
    return True


def get_many(
    connection: sqlite3.Connection, table: Table[R], company_id: bytes, record_ids: Sequence[str]
) -> dict[str, R]:
    found: dict[str, R] = {}
    for start in range(0, len(record_ids), _IDS):
        ids = record_ids[start : start + _IDS]
        rows = connection.execute(
            f"SELECT body FROM {table.name} WHERE company_id = ? AND id IN ({_placeholders(len(ids))})",
            (company_id, *ids),
        )
        for (body,) in rows:
            record = table.parse(body)
            found[record.id] = record
    return found


def delete(connection: sqlite3.Connection, table: Table[Any], company_id: bytes, record_id: str) -> bool:
    for index in table.list_indexes:
        _unlink(connection, index, company_id, record_id)
    deleted = connection.execute(
        f"DELETE FROM {table.name} WHERE company_id = ? AND id = ?", (company_id, record_id)
    )
    return deleted.rowcount > 0


def delete_expired(
    connection: sqlite3.Connection, table: Table[Any], expires_field: str, now: datetime, limit: int
) -> int:
    expired = connection.execute(
        f"SELECT company_id, id FROM {table.name} INDEXED BY {table.expiry_index} "
        f"WHERE {column(expires_field)} <= ? LIMIT ?",
        (table.field(expires_field).encode(now), limit),
    ).fetchall()
    for company_id, record_id in expired:
        delete(connection, table, company_id, record_id)
    return len(expired)


def relink(
    connection: sqlite3.Connection, table: Table[R], company_id: bytes, record: R, *, before: R | None
) -> None:
    """Write a record's rows in the side tables anew, where they differ from those of the record `before`."""
    for index in table.list_indexes:
        if before is None or table.rows(index, record) != table.rows(index, before):
            _unlink(connection, index, company_id, record.id)
            _link(connection, table, index, company_id, record)


@contextmanager
def savepoint(connection: sqlite3.Connection) -> Generator[None]:
    """Undo what the block did when it raises."""
    connection.execute("SAVEPOINT change")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK TO change")
        raise
    finally:
        connection.execute("RELEASE change")


def _link(
    connection: sqlite3.Connection, table: Table[R], index: TableIndex, company_id: bytes, record: R
) -> None:
    names = ["company_id", "id", *map(column, index.fields)]
    try:
        connection.executemany(
            f"INSERT INTO {index.table} ({', '.join(names)}) VALUES ({_placeholders(len(names))})",
            [(company_id, record.id, *row) for row in table.rows(index, record)],
        )
    except sqlite3.IntegrityError as error:
        raise _collision(connection, table, [index], company_id, record) from error


def _unlink(connection: sqlite3.Connection, index: TableIndex, company_id: bytes, record_id: str) -> None:
    connection.execute(f"DELETE FROM {index.table} WHERE company_id = ? AND id = ?", (company_id, record_id))


def _is_stored(connection: sqlite3.Connection, table: Table[Any], company_id: bytes, record_id: str) -> bool:
    found = connection.execute(
        f"SELECT 1 FROM {table.name} WHERE company_id = ? AND id = ?", (company_id, record_id)
    )
    return found.fetchone() is not None


def _collision(
    connection: sqlite3.Connection,
    table: Table[R],
    indexes: Sequence[TableIndex],
    company_id: bytes,
    record: R,
) -> AlreadyExists:
    """Which unique index refused the record: looked up rather than read from SQLite's message."""
    for index in indexes:
        if not index.unique:
            continue
        matching = " AND ".join(f"{column(name)} = ?" for name in index.fields)
        sql = f"SELECT 1 FROM {index.table} WHERE company_id = ? AND id <> ? AND {matching}"
        if any(
            connection.execute(sql, (company_id, record.id, *row)).fetchone()
            for row in table.rows(index, record)
        ):
            return AlreadyExists(table.collection.name, index.fields)
    raise AssertionError("a unique index refused a record that collides in none")


def _placeholders(count: int) -> str:
    return ", ".join("?" * count)
