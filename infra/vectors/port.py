"""The vectors role: the search index over templates. A derivative of the face records, never the
authority."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Template = NDArray[np.float32]
"""One L2-normalised template, shape [dimensions]."""


@dataclass(frozen=True)
class Point:
    """The index entry of a face: ids and hashes only, so that the index names nobody."""

    face_id: UUID
    vector: Template
    user_hash: str
    groups: tuple[str, ...]
    change: int
    """The company's change number of the record that the point was written from."""


@dataclass(frozen=True)
class Hit:
    """A near neighbour: `similarity` is the exact cosine to the probe, in -1..1."""

    face_id: UUID
    user_hash: str
    similarity: float
    change: int


class VectorsError(Exception):
    """The index could not do what was asked."""


class VectorsUnavailable(VectorsError):
    """The index does not answer (its process died or hangs, the server is down): try again."""


class Vectors(ABC):
    """The index of one model's templates; adapters are made for one collection (model id and version)."""

    @property
    @abstractmethod
    def edition(self) -> str:
        """Which making of the index this is, once it is open. Where it changes, the index was made anew by
        somebody else, and nothing that was noted of its contents holds."""

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def upsert(self, company_id: UUID, points: Sequence[Point]) -> None:
        """Write points; when this returns, every later query sees them."""

    @abstractmethod
    async def query(
        self,
        company_id: UUID,
        probes: Sequence[Template],
        *,
        limit: int,
        groups: frozenset[str] | None = None,
        timeout_s: float,
    ) -> list[list[Hit]]:
        """For each probe its `limit` nearest points of the company, best first; with `groups`, of points that
        have one of them."""

    @abstractmethod
    async def retrieve(self, company_id: UUID, face_ids: Sequence[UUID]) -> dict[UUID, Point]: ...

    @abstractmethod
    async def scroll(
        self, company_id: UUID, *, after: UUID | None, limit: int
    ) -> tuple[list[Point], UUID | None]:
        """Points in id order from after an id; the second part is where to go on, None at the end."""

    @abstractmethod
    async def delete(self, company_id: UUID, face_ids: Sequence[UUID]) -> None:
        """Remove points; ids that are not there are fine."""

    @abstractmethod
    async def count(self, company_id: UUID) -> int: ...

    @abstractmethod
    async def flush(self) -> None:
        """When this returns, everything acknowledged before the call survives a power failure."""

    @abstractmethod
    async def ping(self) -> None:
        """Raises VectorsUnavailable unless the index answers."""


@dataclass(frozen=True)
class Renewal:
    """A new, empty index that is to replace whatever there is."""

    vectors: Vectors
    """The new one."""
    retire_former: Callable[[], Awaitable[None]]
    """When this returns, nobody reads or writes the former index any more: their calls fail as those of an
    index that is down."""
    put_in_use: Callable[[], Awaitable[None]]
    """From here on everybody uses the new index."""
