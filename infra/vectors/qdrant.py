"""The vectors role on Qdrant servers, over gRPC.

`qdrant_calls` has the connection, `qdrant_collection` how the points lie, `qdrant_wire` how they travel; here
the port's calls are made.

What is acknowledged is seen by every later read, of any process: a write returns when a majority of the
replicas has applied it (strong ordering: one replica decides the order), and a read asks a majority. The
company is a filter in every call, and one that a point's id does not get around: reads leave out, deletions
don't touch and writes don't replace a point of another company, whatever its id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from time import monotonic
from typing import Final, TypeVar
from uuid import UUID

from qdrant_client import models

from infra.vectors.port import Hit, Point, Template, Vectors, VectorsError, VectorsUnavailable
from infra.vectors.qdrant_calls import CollectionGone, QdrantAddress, QdrantCalls
from infra.vectors.qdrant_collection import FLUSH_INTERVAL_S, Edition, QdrantIndex, QdrantLayout
from infra.vectors.qdrant_wire import (
    in_groups,
    of_company,
    payload_of,
    to_hit,
    to_point,
    to_request,
    to_server,
)
from infra.vectors.templates import SLICE, checked, slices

T = TypeVar("T")

_LAST_ID: Final = UUID(int=2**128 - 1)
_NO_COMPANY: Final = UUID(int=0)
_PING_TIMEOUT_S: Final = 5.0

_SEEN_BY_ALL: Final = models.WriteOrdering.STRONG
_MAJORITY: Final = models.ReadConsistencyType.MAJORITY

# A company of up to so many faces is compared exactly, with the vectors as they were: 10 MB that the system
# keeps in its cache, a few ms. A larger one is scanned in int8, or searched by its graph. Its size is asked
# for once a minute: an old answer makes a search slower, never wrong.
_EXACT_UP_TO: Final = 20_000
_SIZE_KEPT_S: Final = 60.0
_SIZES_KEPT: Final = 10_000

# The round of bringing to disk that was under way when a write came, and the one after it, with some time.
_FLUSH_WAIT_S: Final = 3.0 * FLUSH_INTERVAL_S


class QdrantVectors(Vectors):
    """The index of one model, by the name of `collection`.

    `call_timeout_s` bounds every call but `query`, which brings its own time. `exact_up_to` faces of a
    company are compared exactly. After `flush_wait_s` without a write the server's log is on its disk.
    """

    def __init__(
        self,
        address: QdrantAddress,
        dimensions: int,
        collection: str,
        layout: QdrantLayout | None = None,
        *,
        call_timeout_s: float = 10.0,
        exact_up_to: int = _EXACT_UP_TO,
        flush_wait_s: float = _FLUSH_WAIT_S,
    ) -> None:
        self._dimensions = dimensions
        self._call_timeout_s = call_timeout_s
        self._calls = QdrantCalls(address, timeout_s=call_timeout_s)
        self._index = QdrantIndex(self._calls, collection, dimensions, layout or QdrantLayout())
        self._exact_up_to = exact_up_to
        self._flush_wait_s = flush_wait_s
        self._edition: Edition | None = None
        self._is_gone = False
        self._sizes: dict[UUID, tuple[float, int]] = {}
        self._written_s = -float("inf")  # When the last write was acknowledged.

    @property
    def edition(self) -> str:
        if self._edition is None:
            raise VectorsUnavailable("the index is not open")
        return self._edition.stamp

    async def start(self) -> None:
        """Raises VectorsUnavailable if there is no answer, StoreRefused for what no waiting can mend."""
        await self._started(self._index.opened)

    async def start_anew(self) -> None:
        """Start on a new, empty index that nobody else uses before `put_in_use`."""
        await self._started(self._index.made_anew)

    async def remove_others(self) -> None:
        """Delete the index that this one is to replace. Who uses it finds none until `put_in_use`."""
        await self._index.remove_others(self._open_edition().collection)

    async def put_in_use(self) -> None:
        """Let everybody find this index."""
        await self._index.put_in_use(self._open_edition().collection)

    async def close(self) -> None:
        self._edition = None
        await self._calls.close()

    async def upsert(self, company_id: UUID, points: Sequence[Point]) -> None:
        records = {
            point.face_id: to_server(company_id, point, self._dimensions) for point in points
        }  # Of two points of one id the last counts.
        ours = of_company(company_id)
        for part in slices(list(records.values())):
            await self._write(
                lambda collection, part=part: self._calls.client.upsert(
                    collection, part, wait=True, ordering=_SEEN_BY_ALL, update_filter=ours
                )
            )

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
        vectors = [checked(probe, self._dimensions).tolist() for probe in probes]
        if groups is not None and not groups:
            return [[] for _ in vectors]
        chosen = of_company(company_id, *in_groups(groups))
        ends_s = monotonic() + timeout_s
        exact = await self._size(company_id, timeout_s) <= self._exact_up_to if vectors else False
        requests = [
            to_request(vector, chosen, limit, exact=exact, graph=self._index.layout.graph)
            for vector in vectors
        ]
        found: list[list[Hit]] = []
        for part in slices(requests):
            left_s = max(0.0, ends_s - monotonic())
            answers = await self._call(
                lambda collection, part=part, left_s=left_s: self._calls.client.query_batch_points(
                    collection, part, consistency=_MAJORITY, timeout=max(1, ceil(left_s))
                ),
                left_s,
            )
            found += [[to_hit(hit) for hit in answer.points] for answer in answers]
        return found

    async def retrieve(self, company_id: UUID, face_ids: Sequence[UUID]) -> dict[UUID, Point]:
        found: dict[UUID, Point] = {}
        for part in slices(face_ids):
            records = await self._call(
                lambda collection, part=part: self._calls.client.retrieve(
                    collection,
                    [str(face_id) for face_id in part],
                    with_payload=True,
                    with_vectors=True,
                    consistency=_MAJORITY,
                )
            )
            ours = (record for record in records if payload_of(record)["company"] == str(company_id))
            found.update({point.face_id: point for point in map(to_point, ours)})
        return found

    async def scroll(
        self, company_id: UUID, *, after: UUID | None, limit: int
    ) -> tuple[list[Point], UUID | None]:
        if limit < 1:
            raise ValueError("a limit below 1")
        points: list[Point] = []
        while after != _LAST_ID and len(points) < limit:
            start = None if after is None else str(UUID(int=after.int + 1))
            size = min(limit - len(points), SLICE)
            records, following = await self._call(
                lambda collection, start=start, size=size: self._calls.client.scroll(
                    collection,
                    of_company(company_id),
                    limit=size,
                    offset=start,
                    with_payload=True,
                    with_vectors=True,
                    consistency=_MAJORITY,
                )
            )
            points.extend(map(to_point, records))
            if following is None:
                return points, None
            after = UUID(int=UUID(str(following)).int - 1)
        return points, None if after == _LAST_ID else after

    async def delete(self, company_id: UUID, face_ids: Sequence[UUID]) -> None:
        for part in slices(face_ids):
            those = models.HasIdCondition(has_id=[str(face_id) for face_id in part])
            chosen = models.FilterSelector(filter=of_company(company_id, those))
            await self._write(
                lambda collection, chosen=chosen: self._calls.client.delete(
                    collection, chosen, wait=True, ordering=_SEEN_BY_ALL
                )
            )

    async def count(self, company_id: UUID) -> int:
        answer = await self._call(
            lambda collection: self._calls.client.count(collection, of_company(company_id), exact=True)
        )
        return answer.count

    async def flush(self) -> None:
        """Wait for the server to have brought to disk what was acknowledged to this process before the call.

        A server does so once in `FLUSH_INTERVAL_S` and can't be asked to. A kill of it loses nothing anyhow.
        """
        left_s = self._written_s + self._flush_wait_s - monotonic()
        if left_s > 0:
            await asyncio.sleep(left_s)
        await self.ping()  # A server that is gone may not have come so far.

    async def ping(self) -> None:
        await self._call(
            lambda collection: self._calls.client.retrieve(
                collection, [str(_NO_COMPANY)], with_payload=False, consistency=_MAJORITY
            ),
            min(_PING_TIMEOUT_S, self._call_timeout_s),
        )

    async def _started(self, edition: Callable[[], Awaitable[Edition]]) -> None:
        self._calls.open()
        try:
            self._edition = await edition()
            self._is_gone = False
        except BaseException as error:
            await self._calls.close()
            if isinstance(error, VectorsError) and (refusal := self._calls.refusal(error)) is not None:
                raise refusal from error
            raise

    async def _size(self, company_id: UUID, timeout_s: float) -> int:
        """About how many points a company has, or had up to a minute ago."""
        kept = self._sizes.get(company_id)
        if kept is not None and monotonic() - kept[0] < _SIZE_KEPT_S:
            return kept[1]
        answer = await self._call(
            lambda collection: self._calls.client.count(collection, of_company(company_id), exact=False),
            timeout_s,
        )
        if len(self._sizes) >= _SIZES_KEPT:
            self._sizes.clear()
        self._sizes[company_id] = (monotonic(), answer.count)
        return answer.count

    async def _write(self, call: Callable[[str], Awaitable[models.UpdateResult]]) -> None:
        result = await self._call(call)
        if result.status is not models.UpdateStatus.COMPLETED:
            raise VectorsUnavailable(f"{self._calls.where}: a write is {result.status.value}, not completed")
        self._written_s = monotonic()

    async def _call(self, call: Callable[[str], Awaitable[T]], timeout_s: float | None = None) -> T:
        """A call on the edition in use. If that is gone, this call fails, and the next looks for another."""
        if self._is_gone:
            self._edition = await self._index.found()
            self._is_gone = False
        edition = self._open_edition()
        try:
            return await self._calls.call(call(edition.collection), timeout_s)
        except CollectionGone:
            self._is_gone = self._edition is edition  # Another call may have found the new one meanwhile.
            raise

    def _open_edition(self) -> Edition:
        if self._edition is None:
            raise VectorsUnavailable("the index is not open")
        return self._edition
