"""The key store as a database of its own in MongoDB: one small document a company."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import ValidationError
from pymongo.errors import DuplicateKeyError

from infra.keys.errors import (
    CompanyKeyExists,
    CompanyKeyGone,
    KeyStoreCorrupt,
    KeyStoreMissing,
    KeyStoreUnavailable,
    MasterKeyMismatch,
)
from infra.keys.store import KeyStore, StoreMark, WrappedKey
from infra.mongodb.address import MongoAddress
from infra.mongodb.connection import Database, MongoConnection
from infra.mongodb.errors import MongoDenied, MongoFailed, MongoUnavailable

T = TypeVar("T")

_KEYS: Final = "company_keys"
_STORE: Final = "store"
_MARK: Final = "mark"


class MongoKeyStore(KeyStore):
    """Connects when it is first used, and belongs to that event loop until it is closed.

    No answer is KeyStoreUnavailable, never a key that is gone. That a key is gone is said only after a
    majority has taken a write: a server that was cut off, and does not know the newest keys, gets no further.
    """

    def __init__(self, address: MongoAddress) -> None:
        self._address = address
        self._connection = MongoConnection(address)

    async def close(self) -> None:
        await self._connection.close()

    async def initialise(self, master_fingerprint: str) -> None:
        mark = {"_id": _MARK, "mark": StoreMark(master_fingerprint=master_fingerprint).model_dump_json()}
        with self._refusals():
            try:
                await self._run(lambda database: database[_STORE].insert_one(mark))
            except DuplicateKeyError:
                await self.check(master_fingerprint)

    async def check(self, master_fingerprint: str) -> None:
        with self._refusals():
            found = await self._run(lambda database: database[_STORE].find_one({"_id": _MARK}))
        if found is None:
            raise self._missing()
        try:
            mark = StoreMark.model_validate_json(found["mark"])
        except ValidationError:
            raise KeyStoreCorrupt("the store itself") from None
        if mark.master_fingerprint != master_fingerprint:
            raise MasterKeyMismatch(mark.master_fingerprint, master_fingerprint)

    async def create(self, company_id: UUID, key: WrappedKey) -> None:
        await self._require_store()
        document = {"_id": company_id, "key": key.model_dump_json()}
        try:
            await self._run(lambda database: database[_KEYS].insert_one(document))
        except DuplicateKeyError:
            # A wrapped key is sealed anew each time: if it is this one, the driver has sent it twice.
            if await self._find(company_id) != document:
                raise CompanyKeyExists(company_id) from None

    async def get(self, company_id: UUID) -> WrappedKey:
        found = await self._find(company_id)
        if found is None:
            await self._require_store()
            found = await self._find(company_id)
        if found is None:
            raise CompanyKeyGone(company_id)
        try:
            return WrappedKey.model_validate_json(found["key"])
        except ValidationError:
            raise KeyStoreCorrupt(f"company {company_id}") from None

    async def delete(self, company_id: UUID) -> bool:
        await self._require_store()
        done = await self._run(lambda database: database[_KEYS].delete_one({"_id": company_id}))
        return done.deleted_count > 0

    async def list(self) -> frozenset[UUID]:
        await self._require_store()
        found = await self._run(lambda database: database[_KEYS].find({}, ["_id"]).to_list(None))
        return frozenset(document["_id"] for document in found)

    async def _find(self, company_id: UUID) -> dict[str, Any] | None:
        return await self._run(lambda database: database[_KEYS].find_one({"_id": company_id}))

    async def _require_store(self) -> None:
        """Have a majority confirm that the store is there. Another database must not look like companies that
        were deleted."""
        touched = {"$inc": {"touched": 1}}
        done = await self._run(lambda database: database[_STORE].update_one({"_id": _MARK}, touched))
        if not done.matched_count:
            raise self._missing()

    async def _run(self, call: Callable[[Database], Awaitable[T]]) -> T:
        try:
            await self._connection.open()
            return await self._connection.run(call)
        except (MongoUnavailable, MongoDenied, MongoFailed) as error:
            raise KeyStoreUnavailable(str(error)) from error

    @contextmanager
    def _refusals(self) -> Generator[None]:
        """At the start, what the server does not let us do is told as what it is."""
        try:
            yield
        except KeyStoreUnavailable as error:
            if isinstance(error.__cause__, MongoDenied):
                raise self._connection.refused(str(error.__cause__)) from None
            raise

    def _missing(self) -> KeyStoreMissing:
        return KeyStoreMissing(f"MongoDB at {self._address.hosts}, database {self._address.database}")
