"""Documents in MongoDB: one collection of its for each of ours, no transactions, no change streams."""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from pymongo.errors import DuplicateKeyError

from infra.documents import planner
from infra.documents.fields import to_microseconds
from infra.documents.layout import Layout
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
from infra.mongodb.connection import Database, MongoConnection
from infra.mongodb.errors import MongoDenied, MongoFailed, MongoUnavailable
from infra.mongodb.indexes import align
from infra.mongodb.questions import Question
from infra.mongodb.records import MongoRecords, write_number
from infra.mongodb.schema import fill_in
from infra.mongodb.shape import Document
from schemas.records import Record

R = TypeVar("R", bound=Record)

_CHANGES_AT_ONCE: Final = 16


class MongoDocuments(Documents):
    """Every write is one of one document, told of when a majority has it in its journal: `synced=False` too,
    since what the primary alone has is undone when another takes over. So there is nothing to `sync`."""

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        self._collections: dict[str, MongoRecords[Any]] = {}

    async def start(self, collections: Sequence[Collection[Any]]) -> None:
        """Raises StoreRefused for what no waiting mends."""
        declared = [MongoRecords(self._connection, Layout(collection)) for collection in collections]
        try:
            with _errors():
                await self._connection.open()
                for records in declared:
                    await fill_in(self._connection, records.layout, records.shape)
                    await align(self._connection, records.layout)
        except BaseException as error:
            await self._connection.close()
            if isinstance(error.__cause__, MongoDenied | MongoFailed):
                raise self._connection.refused(str(error)) from None
            raise
        self._collections = {records.layout.name: records for records in declared}

    async def close(self) -> None:
        self._collections = {}
        await self._connection.close()

    async def insert(
        self, collection: Collection[R], company_id: UUID, record: R, *, synced: bool = True
    ) -> None:
        with _errors():
            await self._of(collection).insert(company_id, record)

    async def compare_and_set(
        self,
        collection: Collection[R],
        company_id: UUID,
        record: R,
        *,
        expected: Mapping[str, Scalar],
        synced: bool = True,
    ) -> bool:
        with _errors():
            return await self._of(collection).replace(company_id, record, expected)

    async def compare_and_set_many(
        self,
        collection: Collection[R],
        company_id: UUID,
        changes: Sequence[tuple[R, Mapping[str, Scalar]]],
        *,
        synced: bool = True,
    ) -> list[bool]:
        """One write a change: of a bulk write MongoDB tells how many it did, and not which."""
        records, turn = self._of(collection), asyncio.Semaphore(_CHANGES_AT_ONCE)

        async def change(record: R, expected: Mapping[str, Scalar]) -> bool:
            async with turn:
                try:
                    return await records.replace(company_id, record, expected)
                except AlreadyExists:
                    return False

        with _errors():
            # All come to their ends, so that none is still written after this has raised.
            done = await asyncio.gather(*(change(*one) for one in changes), return_exceptions=True)
            return [_raised(answer) for answer in done]

    async def get(self, collection: Collection[R], company_id: UUID, record_id: str) -> R | None:
        found = await self.get_many(collection, company_id, [record_id])
        return found.get(record_id)

    async def get_many(
        self, collection: Collection[R], company_id: UUID, record_ids: Sequence[str]
    ) -> dict[str, R]:
        with _errors():
            return await self._of(collection).get_many(company_id, record_ids)

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
        records = self._of(collection)
        listing = Listing(total_order(order_by), descending, after, limit + 1)
        plan = planner.find(records.layout, where or {}, within, listing)
        if plan is None:
            return Page((), None)
        with _errors():
            found = await records.listed(company_id, plan, listing)
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
        records = self._of(collection)
        plan = planner.count(records.layout, where or {}, within, distinct)
        if plan is None:
            return 0
        question = Question(records.layout, plan, company_id)
        steps: list[Document] = []
        if distinct is not None:
            different = [{"$match": {"value": {"$ne": None}}}, {"$group": {"_id": "$value"}}]
            steps = [*question.values_of(distinct), *different]
        with _errors():
            counted = await records.aggregated(question, [*steps, {"$count": "number"}])
        return int(counted[0]["number"]) if counted else 0

    async def group_count(
        self,
        collection: Collection[R],
        company_id: UUID,
        by: str,
        *,
        where: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
    ) -> dict[Scalar, int]:
        """A record that holds a list in `by` counts for each of its members."""
        records = self._of(collection)
        plan = planner.count(records.layout, where or {}, None, by)
        if plan is None:
            return {}
        question = Question(records.layout, plan, company_id)
        grouped = {"$group": {"_id": "$value", "number": {"$sum": 1}}}
        with _errors():
            groups = await records.aggregated(question, [*question.values_of(by), grouped])
        field = records.layout.field(by)
        return {field.decode(group["_id"]): int(group["number"]) for group in groups}

    async def delete(
        self, collection: Collection[R], company_id: UUID, record_id: str, *, synced: bool = True
    ) -> bool:
        with _errors():
            return await self._of(collection).delete(company_id, record_id)

    async def delete_expired(self, collection: Collection[R], now: datetime, *, limit: int) -> int:
        """What this leaves, the server removes by itself 5 minutes after its time, by its own clock."""
        records = self._of(collection)
        expires = records.layout.expires
        if expires is None:
            raise DocumentsError(f"{collection.name} does not expire")
        with _errors():
            return await records.delete_expired(expires.name, to_microseconds(now), limit)

    async def companies(
        self,
        collection: Collection[R],
        *,
        where: Mapping[str, Scalar] | None = None,
        limit: int = 1000,
    ) -> list[UUID]:
        """Jumps in the index from one company that has a match to the next: one query each."""
        records = self._of(collection)
        plan = planner.companies(records.layout, where or {})
        found: list[UUID] = []
        with _errors():
            while len(found) < limit:
                company_id = await records.first_company(plan, found[-1] if found else None)
                if company_id is None:
                    break
                found.append(company_id)
        return found

    async def sync(self) -> None:
        """Every write is safe when it is told of."""

    async def ping(self) -> None:
        async def touch(database: Database) -> None:
            touched = {"_id": "ping", "_write": write_number()}
            await database["_ping"].replace_one({"_id": "ping"}, touched, upsert=True)

        with _errors():
            try:
                await self._connection.run(touch)
            except DuplicateKeyError:
                return  # Somebody else has made it in the same moment.

    def _of(self, collection: Collection[R]) -> MongoRecords[R]:
        known = self._collections.get(collection.name)
        if known is None or known.layout.collection != collection:
            raise DocumentsError(f"{collection.name} was not declared at the start")
        return known


def _raised(answer: bool | BaseException) -> bool:
    if isinstance(answer, BaseException):
        raise answer
    return answer


@contextmanager
def _errors() -> Generator[None]:
    try:
        yield
    except (MongoUnavailable, MongoDenied) as error:
        raise DocumentsUnavailable(str(error)) from error
    except MongoFailed as error:
        raise DocumentsError(str(error)) from error
