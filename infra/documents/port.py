"""The documents role: typed collections with declared indexes and single-record atomicity.

The port asks only for what both a SQLite file and a MongoDB without transactions can promise: one record is
written at once or not at all, unique indexes hold, and a reader sees what was written before its call.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from schemas.records import Record

R = TypeVar("R", bound=Record)

Scalar = str | int | float | bool | bytes | UUID | datetime | None


@dataclass(frozen=True)
class Index:
    """A declared index over top-level fields, company first (implied).

    A field that holds a list is indexed by its members: `where={"groups": "hq"}` then means "contains".
    An index may have at most one such field. In a unique index, records with None in one of its fields are
    left out.
    """

    fields: tuple[str, ...]
    unique: bool = False


@dataclass(frozen=True)
class Collection(Generic[R]):
    """A named set of records of one model. `expires_field` names a datetime field after which a record is
    gone."""

    name: str
    model: type[R]
    indexes: tuple[Index, ...] = ()
    expires_field: str | None = None


@dataclass(frozen=True)
class Range:
    """Bounds on one field: `start` inclusive, `end` exclusive, either may be missing."""

    field: str
    start: Scalar = None
    end: Scalar = None


@dataclass(frozen=True)
class Page(Generic[R]):
    """One page of a listing. `next_key` is the keyset position to go on from, None at the end."""

    items: tuple[R, ...]
    next_key: tuple[Scalar, ...] | None


class DocumentsError(Exception):
    """The store could not do what was asked; nothing was changed as far as is known."""


class AlreadyExists(DocumentsError):
    """A unique index (or the id) already has this value. `index` names its fields, `("id",)` for the id."""

    def __init__(self, collection: str, index: tuple[str, ...]) -> None:
        super().__init__(f"{collection}: a record with this {', '.join(index)} exists")
        self.collection = collection
        self.index = index


class UnfitPosition(DocumentsError):
    """`after` is no position in the order that was asked for: it was made up, or comes from another list."""


class DocumentsUnavailable(DocumentsError):
    """The store does not answer (down, disk full, time-out): try again later."""


class Documents(ABC):
    """Typed collections. Every call names the company whose data it touches (PLATFORM for none).

    `synced=False` lets a write be told before it is safe from a power failure. It is then visible to every
    reader and survives a kill of the process, and a later synced write makes it safe, too, where the store
    has one log.
    """

    @abstractmethod
    async def start(self, collections: Sequence[Collection[Any]]) -> None:
        """Open the store and bring its tables and indexes in line with the declarations."""

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def insert(
        self, collection: Collection[R], company_id: UUID, record: R, *, synced: bool = True
    ) -> None:
        """Add a record. Raises AlreadyExists and then changes nothing."""

    @abstractmethod
    async def compare_and_set(
        self,
        collection: Collection[R],
        company_id: UUID,
        record: R,
        *,
        expected: Mapping[str, Scalar],
        synced: bool = True,
    ) -> bool:
        """Replace the record with this id if its fields equal `expected`; False if they do not, or it is not
        there.

        Raises AlreadyExists when the new record collides with another in a unique index.
        """

    @abstractmethod
    async def compare_and_set_many(
        self,
        collection: Collection[R],
        company_id: UUID,
        changes: Sequence[tuple[R, Mapping[str, Scalar]]],
        *,
        synced: bool = True,
    ) -> list[bool]:
        """`compare_and_set` for several records, each on its own and in any order; one answer a change (False
        for a collision, too)."""

    @abstractmethod
    async def get(self, collection: Collection[R], company_id: UUID, record_id: str) -> R | None: ...

    @abstractmethod
    async def get_many(
        self, collection: Collection[R], company_id: UUID, record_ids: Sequence[str]
    ) -> dict[str, R]:
        """Those of the records that exist, by id."""

    @abstractmethod
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
        """Records that match, in order, from after the keyset position `after`.

        `where` is equality, a sequence as value means "one of". `order_by` ends with "id" (added when
        missing), so that the order is total; `after` holds the values of those fields of the last record
        seen; UnfitPosition where it can't be. Served by a declared index, else it raises DocumentsError.
        """

    @abstractmethod
    async def count(
        self,
        collection: Collection[R],
        company_id: UUID,
        *,
        where: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
        within: Range | None = None,
        distinct: str | None = None,
    ) -> int:
        """How many records match; with `distinct`, how many different values of that field they have."""

    @abstractmethod
    async def group_count(
        self,
        collection: Collection[R],
        company_id: UUID,
        by: str,
        *,
        where: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
    ) -> dict[Scalar, int]:
        """How many matching records there are of each value of `by`."""

    @abstractmethod
    async def delete(
        self, collection: Collection[R], company_id: UUID, record_id: str, *, synced: bool = True
    ) -> bool:
        """Remove a record; False if it was not there."""

    @abstractmethod
    async def delete_expired(self, collection: Collection[Any], now: datetime, *, limit: int) -> int:
        """Remove up to `limit` records of any company whose `expires_field` is at or before `now`. Reads
        leave them to the caller to judge: a record past its time may still be seen until this has run."""

    @abstractmethod
    async def companies(
        self,
        collection: Collection[R],
        *,
        where: Mapping[str, Scalar] | None = None,
        limit: int = 1000,
    ) -> list[UUID]:
        """Which companies have matching records: for background work (relay, sweeps), never for a request."""

    @abstractmethod
    async def sync(self) -> None:
        """Make every write told of before this call safe from a power failure, unsynced ones included, and
        with them the broker's messages where its log is the same file. Cheap when there is nothing to make
        safe."""

    @abstractmethod
    async def ping(self) -> None:
        """Raises DocumentsUnavailable unless the store can be read and written."""
