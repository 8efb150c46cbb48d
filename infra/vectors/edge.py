"""The vectors role on one machine: Qdrant Edge in a child process, optimised as a copy that is swapped in.

`edge_child` says how the points lie, `edge_generations` where, `edge_rebuild` how the copy is made,
`edge_live` how it comes into use. Here the port's calls become the calls of the index process.
"""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from infra.vectors.edge_generations import Generations
from infra.vectors.edge_live import LiveIndex
from infra.vectors.edge_wire import Record, to_hit, to_point, to_record, to_vector
from infra.vectors.port import Hit, Point, Template, Vectors
from infra.vectors.templates import SLICE, slices

_FIRST_ID = UUID(int=0)
_LAST_ID = UUID(int=2**128 - 1)


class EdgeVectors(Vectors):
    """The index of one collection (model id and version), in a folder of its own, which no other process may
    open.

    `call_timeout_s` bounds every call but `query`, which brings its own time: a call that has the index
    process for longer kills it, and it is started again. After `rebuild_after` written or deleted points (or
    a fifth of the index, if that is more) the base is built anew; searches and writes go on meanwhile.
    """

    def __init__(
        self,
        directory: Path,
        dimensions: int,
        collection: str,
        *,
        start_timeout_s: float = 120.0,
        call_timeout_s: float = 30.0,
        rebuild_after: int = 20_000,
    ) -> None:
        self._dimensions = dimensions
        self._call_timeout_s = call_timeout_s
        self._index = LiveIndex(
            directory,
            Generations(directory, collection, dimensions),
            dimensions=dimensions,
            start_timeout_s=start_timeout_s,
            write_timeout_s=call_timeout_s,
            rebuild_after=rebuild_after,
        )

    @property
    def pid(self) -> int | None:
        """The index process; None while there is none."""
        return self._index.pid

    @property
    def edition(self) -> str:
        """One process has the folder, and who removes it takes back what is noted of it first."""
        return ""

    async def start(self) -> None:
        """Raises VectorsError if the folder can't be used: the index of another model, or damaged."""
        await self._index.open()

    async def close(self) -> None:
        await self._index.close()

    async def upsert(self, company_id: UUID, points: Sequence[Point]) -> None:
        for part in slices(points):
            records = [to_record(company_id, point, self._dimensions) for point in part]
            await self._index.write("upsert", records, [record.face_id for record in records])

    async def query(
        self,
        company_id: UUID,
        probes: Sequence[Template],
        *,
        limit: int,
        groups: frozenset[str] | None = None,
        timeout_s: float,
    ) -> list[list[Hit]]:
        if limit < 1:
            raise ValueError("a limit below 1")
        if not probes:
            return []
        request = {
            "company": str(company_id),
            "probes": [to_vector(probe, self._dimensions) for probe in probes],
            "limit": limit,
            "groups": None if groups is None else sorted(groups),
        }
        answer = await self._index.read("query", request, timeout_s)
        return [[to_hit(hit) for hit in hits] for hits in answer]

    async def retrieve(self, company_id: UUID, face_ids: Sequence[UUID]) -> dict[UUID, Point]:
        found: dict[UUID, Point] = {}
        for part in slices(face_ids):
            request = {"company": str(company_id), "ids": [face_id.bytes for face_id in part]}
            for record in await self._index.read("retrieve", request, self._call_timeout_s):
                point = to_point(Record._make(record))
                found[point.face_id] = point
        return found

    async def scroll(
        self, company_id: UUID, *, after: UUID | None, limit: int
    ) -> tuple[list[Point], UUID | None]:
        if limit < 1:
            raise ValueError("a limit below 1")
        points: list[Point] = []
        while after != _LAST_ID and len(points) < limit:
            request = {
                "company": str(company_id),
                "start": _FIRST_ID.bytes if after is None else UUID(int=after.int + 1).bytes,
                "limit": min(limit - len(points), SLICE),
            }
            page = await self._index.read("scroll", request, self._call_timeout_s)
            points.extend(to_point(Record._make(record)) for record in page["records"])
            if page["next"] is None:
                return points, None
            after = points[-1].face_id
        return points, None if after == _LAST_ID else after

    async def delete(self, company_id: UUID, face_ids: Sequence[UUID]) -> None:
        for part in slices(face_ids):
            ids = [face_id.bytes for face_id in part]
            await self._index.write("delete", {"company": str(company_id), "ids": ids}, ids)

    async def count(self, company_id: UUID) -> int:
        return await self._index.read("count", str(company_id), self._call_timeout_s)

    async def flush(self) -> None:
        """Searches wait for it, 10 to 400 ms by what is new: for when a mark is due, not for each write."""
        await self._index.read("flush", None, self._call_timeout_s)

    async def ping(self) -> None:
        await self._index.read("status", None, self._call_timeout_s)

    async def rebuild(self) -> None:
        """Build the base anew from all points and nothing that was deleted; otherwise done after many
        writes."""
        await self._index.rebuild()
