"""The objects role: sealed blobs by key. What is stored is always ciphertext; the port does not know of
what."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class ObjectInfo:
    """What a listing tells of an object."""

    company_id: UUID
    key: str
    size_bytes: int
    modified_at: datetime


class ObjectsError(Exception):
    """The store could not do what was asked."""


class ObjectNotFound(ObjectsError):
    """There is no object of this key."""


class ObjectsUnavailable(ObjectsError):
    """The store does not answer, or its disk is full: try again later."""


class Objects(ABC):
    """Blobs of a company, by keys like `inflight/{job_id}` or `photos/{face_id}` (ASCII, `/`-separated, no
    `..`)."""

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def put(self, company_id: UUID, key: str, blob: bytes) -> None:
        """Store whole or not at all, durably; an object of the same key is replaced."""

    @abstractmethod
    async def get(self, company_id: UUID, key: str) -> bytes:
        """Raises ObjectNotFound."""

    @abstractmethod
    async def delete(self, company_id: UUID, key: str) -> bool:
        """False if it was not there."""

    @abstractmethod
    async def delete_many(self, company_id: UUID, keys: Sequence[str]) -> None:
        """Delete all of these that are there. Some may be deleted when it raises: it may be repeated."""

    @abstractmethod
    def list(
        self, company_id: UUID | None, prefix: str, *, older_than: datetime | None = None
    ) -> AsyncIterator[ObjectInfo]:
        """Objects under a prefix (ending in `/` or empty), of one company, or of all for sweeps (None)."""

    @abstractmethod
    async def ping(self) -> None:
        """Raises ObjectsUnavailable unless an object can be written."""
