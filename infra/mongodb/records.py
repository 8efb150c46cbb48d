"""Reading and writing one collection's documents over a connection."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from pymongo.errors import DuplicateKeyError

from infra.documents.layout import Layout
from infra.documents.planner import Listing, Plan
from infra.documents.port import AlreadyExists, DocumentsError, Scalar
from infra.mongodb.connection import Database, MongoConnection, all_of
from infra.mongodb.indexes import EXPIRY_NAME, colliding_fields, read_name
from infra.mongodb.questions import Question, company_filter, company_sort
from infra.mongodb.shape import Document, Shape, as_date, key_of
from schemas.records import Record

R = TypeVar("R", bound=Record)

_IDS: Final = 500
"""How many records one query looks for."""


class MongoRecords(Generic[R]):
    """The documents of one collection.

    Each write leaves a number of its own in its document. Where an answer says that nothing was written, and
    the number is there, it was: the driver had to send the write twice, and the server has forgotten the
    first.
    """

    def __init__(self, connection: MongoConnection, layout: Layout[R]) -> None:
        self._connection = connection
        self.layout = layout
        self.shape = Shape(layout)

    async def insert(self, company_id: UUID, record: R) -> None:
        """Raises AlreadyExists."""
        name, write = self.layout.name, write_number()
        document = self.shape.document(company_id, record, write)
        try:
            await self._connection.run(lambda database: database[name].insert_one(document))
        except DuplicateKeyError as error:
            there = await self._write_of(document["_id"])
            if there == write:
                return
            # Of several indexes that refuse, a server names any.
            index = colliding_fields(error) if there is None else ("id",)
            raise AlreadyExists(name, index) from None

    async def replace(self, company_id: UUID, record: R, expected: Mapping[str, Scalar]) -> bool:
        """Raises AlreadyExists for a collision in a unique index."""
        name, write = self.layout.name, write_number()
        document = self.shape.document(company_id, record, write)
        condition = {"_id": document["_id"], **self._equal(expected)}
        try:
            done = await self._connection.run(
                lambda database: database[name].replace_one(condition, document)
            )
        except DuplicateKeyError as error:
            raise AlreadyExists(name, colliding_fields(error)) from None
        return done.matched_count > 0 or await self._write_of(document["_id"]) == write

    async def get_many(self, company_id: UUID, record_ids: Sequence[str]) -> dict[str, R]:
        keys = [key_of(company_id, record_id) for record_id in dict.fromkeys(record_ids)]
        found: dict[str, R] = {}
        for start in range(0, len(keys), _IDS):
            for document in await self._found({"_id": {"$in": keys[start : start + _IDS]}}):
                record = self.shape.record(document)
                found[record.id] = record
        return found

    async def listed(self, company_id: UUID, plan: Plan, listing: Listing) -> list[R]:
        question = Question(self.layout, plan, company_id)
        order = question.sort(listing.order_by, descending=listing.descending)
        found: list[Document] = []
        for matching in question.filters:
            if len(found) == listing.limit:
                break
            left = listing.limit - len(found)
            found += await self._found(matching, sort=order, hint=question.hint, limit=left)
        return [self.shape.record(document) for document in found]

    async def aggregated(self, question: Question, steps: Sequence[Document]) -> list[Document]:
        """What an aggregation of the records that a question asks for answers."""
        name, pipeline = self.layout.name, [{"$match": question.filters[0]}, *steps]
        return await self._connection.run(
            lambda database: all_of(database[name].aggregate(pipeline, hint=question.hint))
        )

    async def first_company(self, plan: Plan, after: UUID | None) -> UUID | None:
        """The first company behind one that has a match."""
        found = await self._found(
            company_filter(plan, after),
            ["_company"],
            sort=company_sort(plan),
            hint=read_name(self.layout, plan.index),
            limit=1,
        )
        return found[0]["_company"] if found else None

    async def delete(self, company_id: UUID, record_id: str) -> bool:
        name, key = self.layout.name, {"_id": key_of(company_id, record_id)}
        done = await self._connection.run(lambda database: database[name].delete_one(key))
        return done.deleted_count > 0

    async def delete_expired(self, expires_field: str, at: int, limit: int) -> int:
        """Remove what expired at or before a stored time."""
        name, expired = self.layout.name, {expires_field: {"$lte": at}}
        due = {"_expires": {"$lte": as_date(at)}, **expired}
        keys = [one["_id"] for one in await self._found(due, ["_id"], hint=EXPIRY_NAME, limit=limit)]
        if not keys:
            return 0
        # Asked again: one may have been prolonged meanwhile.
        still = {"_id": {"$in": keys}, **expired}
        done = await self._connection.run(lambda database: database[name].delete_many(still))
        return done.deleted_count

    async def _found(
        self, matching: Document, fields: Sequence[str] | None = None, **options: Any
    ) -> list[Document]:
        def find(database: Database) -> Any:
            return database[self.layout.name].find(matching, fields, **options).to_list(None)

        return await self._connection.run(find)

    async def _write_of(self, key: str) -> bytes | None:
        """The number of the write that a document is from."""
        found = await self._found({"_id": key}, ["_write"])
        return found[0]["_write"] if found else None

    def _equal(self, expected: Mapping[str, Scalar]) -> Document:
        fields = [self.layout.field(name) for name in expected]
        for field in fields:
            if field.many:
                raise DocumentsError(f"field {field.name} holds a list, which can't be compared")
        return {field.name: field.encode(expected[field.name]) for field in fields}


def write_number() -> bytes:
    return secrets.token_bytes(12)
