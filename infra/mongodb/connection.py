"""The connection to MongoDB, and the one module that holds motor.

motor is past its maker's end of life; its successor is `AsyncMongoClient` of pymongo, which comes with it. To
change over, in this module: `AsyncIOMotorClient` → `pymongo.AsyncMongoClient`, `AsyncIOMotorDatabase` →
`pymongo.asynchronous.database.AsyncDatabase`; `close()` is a coroutine and needs no thread;
`topology_description` is the client's own, without `delegate`; `aggregate()` and `list_indexes()` are
coroutines that answer a cursor (`all_of`); the pool of threads goes, and `MOTOR_MAX_WORKERS` with it. All
else that is called keeps its name and answer, and a client still belongs to one event loop.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import pymongo
from pymongo.errors import ConfigurationError, DuplicateKeyError, PyMongoError
from pymongo.read_preferences import ReadPreference

from infra.mongodb.address import MongoAddress
from infra.mongodb.errors import (
    DRIVER_ERRORS,
    MongoDenied,
    MongoFailed,
    MongoUnavailable,
    tls_fault,
    translated,
)
from infra.mongodb.shape import Document
from infra.refused import StoreRefused
from infra.store_breaker import StoreBreaker, StoreLeftAlone

# motor makes its threads when it is imported, five a processor: too few where a call waits for a majority.
os.environ.setdefault("MOTOR_MAX_WORKERS", "64")

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase

T = TypeVar("T")

Database = AsyncIOMotorDatabase[Document]

CALL_S = 10.0
"""How long a call may take, unless told."""

_OPEN_S: Final = 3.0
# The driver keeps its deadline itself; this is for a call that waits for one of its threads.
_QUEUED_S: Final = 5.0
_CALLS_MAX: Final = 256


class MongoConnection:
    """Calls to one database, each with a deadline, at most so many at once, and with our own errors.

    A write is told of once a majority of the servers has it in its journal. A read sees the primary, and of
    what that has only what a majority has, so that nothing that was read is undone by a fail-over. A primary
    that was cut off and does not know it yet may be read for some seconds; its writes fail.

    A write whose answer was lost is sent once more by the driver, and a replica set answers it with what came
    of the first. A standalone server can't, so the driver does not ask it: MongoUnavailable is raised, and
    whoever calls finds out by reading.
    """

    def __init__(self, address: MongoAddress, breaker: StoreBreaker | None = None) -> None:
        self._address = address
        self._breaker = breaker or StoreBreaker(address.role)
        self._client: AsyncIOMotorClient[Document] | None = None
        self._opening = asyncio.Lock()
        self._calls = asyncio.Semaphore(_CALLS_MAX)

    async def open(self) -> None:
        """Connect and log in, unless that is done. Raises StoreRefused for what no waiting mends, else
        MongoUnavailable."""
        async with self._opening:
            if self._client is not None:
                return
            self._client = await self._made()
            try:
                await self.run(lambda database: database.command("ping"), timeout_s=_OPEN_S)
            except BaseException as error:
                reason = self._tls_fault()
                await self.close()
                if reason is not None:
                    raise self.refused(f"TLS failed ({reason})") from None
                if isinstance(error, MongoDenied | MongoFailed):
                    raise self.refused(str(error)) from None
                raise

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)

    def refused(self, reason: str) -> StoreRefused:
        """The one line for the operator."""
        address = self._address
        return StoreRefused(f"{address.role}: MongoDB at {address.hosts}: {reason} ({address.setting})")

    async def run(
        self,
        call: Callable[[Database], Awaitable[T]],
        *,
        timeout_s: float | None = None,
    ) -> T:
        """Await a call of the driver. Raises MongoUnavailable, MongoDenied and MongoFailed; DuplicateKeyError
        passes through.

        A caller who is cancelled or loses patience does not stop what was sent: it happens once, told or not.
        """
        client = self._client
        if client is None:
            raise MongoUnavailable("the connection is not open")
        database = client[self._address.database]
        timeout_s = timeout_s or CALL_S
        try:
            with self._breaker.call(_is_silence):
                async with asyncio.timeout(timeout_s + _QUEUED_S), self._calls:
                    with pymongo.timeout(timeout_s):
                        return await call(database)
        except StoreLeftAlone as left:
            raise MongoUnavailable(str(left)) from None
        except TimeoutError:
            raise MongoUnavailable("no answer in time") from None
        except DuplicateKeyError:
            raise
        except DRIVER_ERRORS as error:
            raise translated(error) from None

    async def _made(self) -> AsyncIOMotorClient[Document]:
        setting = f"{self._address.role}: {self._address.setting}"
        try:
            # In a thread: certificates are read, and the name of a `mongodb+srv` is looked up.
            return await asyncio.to_thread(self._make)
        except OSError:
            raise StoreRefused(f"{setting}: a certificate file of it can't be read") from None
        except (PyMongoError, ValueError) as error:
            if self._address.url.startswith("mongodb+srv:") and type(error) is ConfigurationError:
                raise MongoUnavailable("the servers' names can't be looked up") from None
            # Not the driver's words: they may hold a piece of the password.
            raise StoreRefused(f"{setting} is not a MongoDB URL that can be used") from None

    def _make(self) -> AsyncIOMotorClient[Document]:
        address = self._address
        files = {"tlsCAFile": address.ca_file, "tlsCertificateKeyFile": address.cert_file}
        options: dict[str, Any] = {name: str(path) for name, path in files.items() if path is not None}
        return AsyncIOMotorClient(
            address.url,
            document_class=dict[str, Any],
            appname="faceid",
            connectTimeoutMS=5_000,
            serverSelectionTimeoutMS=int(CALL_S * 1000),
            uuidRepresentation="standard",
            w="majority",
            journal=True,
            readConcernLevel="majority",
            read_preference=ReadPreference.PRIMARY,
            **options,
        )

    def _tls_fault(self) -> str | None:
        if self._client is None:
            return None
        servers = self._client.delegate.topology_description.server_descriptions().values()
        return tls_fault(server.error for server in servers)


def _is_silence(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or (isinstance(error, PyMongoError) and error.timeout)


async def all_of(cursor: Any) -> list[Document]:
    """All that an aggregation or a list of indexes answers."""
    return await cursor.to_list(None)
