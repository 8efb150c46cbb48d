"""Documents in the embedded SQLite file."""

import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from infra.documents.planner import Listing, page_of, total_order
from infra.documents.port import (
    AlreadyExists,
    Collection,
    Documents,
    DocumentsError,
    DocumentsUnavailable,
    Page,
    Range,
    Scalar,
)
from infra.sqlite import planner, records
from infra.sqlite.errors import FileUnavailable
from infra.sqlite.file import SqliteFile
from infra.sqlite.migration import migrate
from infra.sqlite.table import Table
from infra.sqlite.writer import Statistics
from schemas.records import Record

R = TypeVar("R", bound=Record)


class SqliteDocuments(Documents):
    """Collections as tables of one file, which a `SqliteBroker` may share.

    A write is one operation of the file's writer, so that a compare-and-set needs no retry. Which questions
    an index answers is written in `infra.documents.planner`.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._tables: dict[str, Table[Any]] = {}

    async def start(self, collections: Sequence[Collection[Record]]) -> None:
        tables = [Table(collection) for collection in collections]
        with _errors():
            await self._file.open()
            try:
                for table in tables:
                    await migrate(self._file, table)
            except BaseException:
                await self._file.close()
                raise
        self._tables = {table.collection.name: table for table in tables}

    async def close(self) -> None:
        self._tables = {}
        await self._file.close()

    def statistics(self) -> Statistics:
        """Commits so far, of this adapter and whoever shares its file: for benchmarks."""
        return self._file.stats()

    async def insert(
        self, collection: Collection[R], company_id: UUID, record: R, *, synced: bool = True
    ) -> None:
        table, company, body = self._table(collection), company_id.bytes, record.model_dump_json()
        with _errors():
            await self._file.write(
                lambda connection: records.insert(connection, table, company, record, body), synced=synced
            )

    async def compare_and_set(
        self,
        collection: Collection[R],
        company_id: UUID,
        record: R,
        *,
        expected: Mapping[str, Scalar],
        synced: bool = True,
    ) -> bool:
        table, company, body = self._table(collection), company_id.bytes, record.model_dump_json()
        with _errors():
            return await self._file.write(
                lambda connection: records.replace(connection, table, company, record, body, expected),
                synced=synced,
            )

    async def compare_and_set_many(
        self,
        collection: Collection[R],
        company_id: UUID,
        changes: Sequence[tuple[R, Mapping[str, Scalar]]],
        *,
        synced: bool = True,
    ) -> list[bool]:
        table, company = self._table(collection), company_id.bytes
        bodies = [record.model_dump_json() for record, _ in changes]

        def operation(connection: sqlite3.Connection) -> list[bool]:
            done: list[bool] = []
            for (record, expected), body in zip(changes, bodies, strict=True):
                try:
                    with records.savepoint(connection):
                        done.append(records.replace(connection, table, company, record, body, expected))
                except AlreadyExists:
                    done.append(False)
            return done

        with _errors():
            return await self._file.write(operation, synced=synced)

    async def get(self, collection: Collection[R], company_id: UUID, record_id: str) -> R | None:
        found = await self.get_many(collection, company_id, [record_id])
        return found.get(record_id)

    async def get_many(
        self, collection: Collection[R], company_id: UUID, record_ids: Sequence[str]
    ) -> dict[str, R]:
        table, company = self._table(collection), company_id.bytes
        with _errors():
            return await self._file.read(
                lambda connection: records.get_many(connection, table, company, record_ids)
            )

    async def find(
        self,
        collection: Collection[R],
        company_id: UUID,
        *,
        where: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
        within: Range | None = None,
        order_by: tuple[str, ...] = ("id",),
        descending: bool = False,
        after: tuple[Scalar, ...] | None = None,
        limit: int = 50,
    ) -> Page[R]:
        table, where = self._table(collection), where or {}
        listing = Listing(total_order(order_by), descending, after, limit + 1)
        statement = planner.find(table, company_id.bytes, where, within, listing)
        if statement is None:
            return Page((), None)
        with _errors():
            found = await self._file.read(
                lambda connection: [table.parse(body) for (body,) in _rows(connection, statement)]
            )
        return page_of(found, listing)

    async def count(
        self,
        collection: Collection[R],
        company_id: UUID,
        *,
        where: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
        within: Range | None = None,
        distinct: str | None = None,
    ) -> int:
        """`distinct` does not count None, which is no value."""
        statement = planner.count(self._table(collection), company_id.bytes, where or {}, within, distinct)
        if statement is None:
            return 0
        with _errors():
            return await self._file.read(lambda connection: _rows(connection, statement)[0][0])

    async def group_count(
        self,
        collection: Collection[R],
        company_id: UUID,
        by: str,
        *,
        where: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
    ) -> dict[Scalar, int]:
        """A record that holds a list in `by` counts for each of its members."""
        table = self._table(collection)
        statement = planner.group_count(table, company_id.bytes, where or {}, by)
        if statement is None:
            return {}
        with _errors():
            rows = await self._file.read(lambda connection: _rows(connection, statement))
        return {table.field(by).decode(value): number for value, number in rows}

    async def delete(
        self, collection: Collection[R], company_id: UUID, record_id: str, *, synced: bool = True
    ) -> bool:
        table, company = self._table(collection), company_id.bytes
        with _errors():
            return await self._file.write(
                lambda connection: records.delete(connection, table, company, record_id), synced=synced
            )

    async def delete_expired(self, collection: Collection[R], now: datetime, *, limit: int) -> int:
        """Not synced: what a power failure brings back is removed by the next run."""
        table, expires_field = self._table(collection), collection.expires_field
        if expires_field is None:
            raise DocumentsError(f"{collection.name} does not expire")
        with _errors():
            return await self._file.write(
                lambda connection: records.delete_expired(connection, table, expires_field, now, limit),
                synced=False,
            )

    async def companies(
        self,
        collection: Collection[R],
        *,
        where: Mapping[str, Scalar] | None = None,
        limit: int = 1000,
    ) -> list[UUID]:
        statement = planner.companies(self._table(collection), where or {}, limit)
        with _errors():
            rows = await self._file.read(lambda connection: _rows(connection, statement))
        return [UUID(bytes=company) for (company,) in rows]

    async def sync(self) -> None:
        with _errors():
            await self._file.sync()

    async def ping(self) -> None:
        with _errors():
            await self._file.ping()

    def _table(self, collection: Collection[R]) -> Table[R]:
        table = self._tables.get(collection.name)
        if table is None or table.collection != collection:
            raise DocumentsError(f"{collection.name} was not declared at the start")
        return table


def _rows(connection: sqlite3.Connection, statement: planner.Statement) -> list[Any]:
    return connection.execute(statement.sql, statement.values).fetchall()


@contextmanager
def _errors() -> Generator[None]:
    try:
        yield
    except FileUnavailable as error:
        raise DocumentsUnavailable(str(error)) from error
