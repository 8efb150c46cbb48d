"""Bringing a collection's tables in line with its declaration, whatever declaration they were made by.

What an older declaration had and this one has not is dropped; what is new is added and filled from the
bodies, a batch at a time; the indexes are made last. Then the declaration is written down: a start that was
cut short begins again.
"""

import json
import sqlite3
from typing import Any, Final

from infra.documents.port import DocumentsError
from infra.sqlite.file import SqliteFile
from infra.sqlite.records import relink
from infra.sqlite.table import SQL_TYPES, Table, column

_BATCH: Final = 500

# Making an index over millions of records takes its time, and nobody waits for the writer yet.
_STEP_TIMEOUT_S: Final = 3600.0

_Declaration = dict[str, dict[str, str]]

_NOTHING: Final[_Declaration] = {"columns": {}, "side_tables": {}, "indexes": {}}


async def migrate(file: SqliteFile, table: Table[Any]) -> None:
    """Raises DocumentsError when a new unique index meets records that collide in it."""
    if not await file.write(lambda connection: _prepare(connection, table), synced=False):
        return
    last: int | None = 0
    while last is not None:
        last = await _fill(file, table, last)
    await file.write(lambda connection: _finish(connection, table), synced=True, timeout_s=_STEP_TIMEOUT_S)


def _declared(table: Table[Any]) -> _Declaration:
    indexes = {index.name: index.columns for index in table.kept_indexes}
    if table.collection.expires_field is not None:
        indexes[table.expiry_index] = column(table.collection.expires_field)
    return {
        "columns": {column(field.name): field.kind.name for field in table.columns},
        "side_tables": {
            index.table: ", ".join(f"{name} {table.field(name).kind.name}" for name in index.fields)
            for index in table.list_indexes
        },
        "indexes": indexes,
    }


def _recorded(connection: sqlite3.Connection, table: Table[Any]) -> _Declaration | None:
    row = connection.execute(
        "SELECT declaration FROM documents_schema WHERE name = ?", (table.name,)
    ).fetchone()
    return json.loads(row[0]) if row else None


def _prepare(connection: sqlite3.Connection, table: Table[Any]) -> bool:
    """Make tables and columns, and drop what is no longer declared. False when there was nothing to do."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS documents_schema "
        "(name TEXT PRIMARY KEY, declaration TEXT NOT NULL) WITHOUT ROWID"
    )
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {table.name} "
        "(key INTEGER PRIMARY KEY, company_id BLOB NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL)"
    )
    connection.execute(
        f"CREATE UNIQUE INDEX IF NOT EXISTS {table.primary.name} ON {table.name} ({table.primary.columns})"
    )
    recorded, declared = _recorded(connection, table), _declared(table)
    if recorded == declared:
        return False
    recorded = recorded or _NOTHING
    # Before the columns: one that is indexed can't be dropped.
    _drop_indexes(connection, table)
    _align_side_tables(connection, table, recorded["side_tables"], declared["side_tables"])
    _align_columns(connection, table, recorded["columns"], declared["columns"])
    return True


def _drop_indexes(connection: sqlite3.Connection, table: Table[Any]) -> None:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
    for (name,) in names:
        if name.startswith(f"{table.name}__") and name != table.primary.name:
            connection.execute(f"DROP INDEX {name}")


def _align_side_tables(
    connection: sqlite3.Connection, table: Table[Any], recorded: dict[str, str], declared: dict[str, str]
) -> None:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in names:
        if name.startswith(f"{table.name}__") and recorded.get(name, "") != declared.get(name):
            connection.execute(f"DROP TABLE {name}")
    for index in table.list_indexes:
        columns = ", ".join(f"{column(name)} {SQL_TYPES[table.field(name).kind]}" for name in index.fields)
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {index.table} "
            f"(company_id BLOB NOT NULL, id TEXT NOT NULL, {columns}, "
            f"PRIMARY KEY (company_id, id, {column(index.members or '')})) WITHOUT ROWID"
        )


def _align_columns(
    connection: sqlite3.Connection, table: Table[Any], recorded: dict[str, str], declared: dict[str, str]
) -> None:
    present = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table.name})")}
    for name in present:
        if name.startswith("f_") and recorded.get(name, "") != declared.get(name):
            connection.execute(f"ALTER TABLE {table.name} DROP COLUMN {name}")
            present = present - {name}
    for field in table.columns:
        if column(field.name) not in present:
            connection.execute(
                f"ALTER TABLE {table.name} ADD COLUMN {column(field.name)} {SQL_TYPES[field.kind]}"
            )


async def _fill(file: SqliteFile, table: Table[Any], last: int) -> int | None:
    """Fill columns and side tables of the next records. Answers where to go on, None at the end."""

    def operation(connection: sqlite3.Connection) -> int | None:
        rows: list[tuple[int, bytes, str]] = connection.execute(
            f"SELECT key, company_id, body FROM {table.name} WHERE key > ? ORDER BY key LIMIT {_BATCH}",
            (last,),
        ).fetchall()
        assignments = ", ".join(f"{column(field.name)} = ?" for field in table.columns)
        for key, company_id, body in rows:
            record = table.parse(body)
            if assignments:
                connection.execute(
                    f"UPDATE {table.name} SET {assignments} WHERE key = ?", (*table.values(record), key)
                )
            relink(connection, table, company_id, record, before=None)
        return rows[-1][0] if rows else None

    return await file.write(operation, synced=False)


def _finish(connection: sqlite3.Connection, table: Table[Any]) -> None:
    declared = _declared(table)
    for index in table.kept_indexes:
        unique = "UNIQUE" if index.unique else ""
        try:
            connection.execute(f"CREATE {unique} INDEX {index.name} ON {index.table} ({index.columns})")
        except sqlite3.IntegrityError as error:
            fields = ", ".join(index.fields)
            raise DocumentsError(
                f"{table.collection.name}: stored records are not unique by {fields}"
            ) from error
    if table.collection.expires_field is not None:
        expires = column(table.collection.expires_field)
        connection.execute(f"CREATE INDEX {table.expiry_index} ON {table.name} ({expires})")
    connection.execute(
        "INSERT OR REPLACE INTO documents_schema VALUES (?, ?)", (table.name, json.dumps(declared))
    )
