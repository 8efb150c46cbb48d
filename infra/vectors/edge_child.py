"""The index process: owns one Qdrant Edge shard and answers for it.

Points lie in two parts of the shard. What was written since the shard was made is in an appendable segment,
compared exactly; `optimise` turns it into the base, an immutable segment with int8-quantised vectors in
memory, whose candidates are scored again with the vectors as they were. The engine asks both and moves a
point that is written again from the base to the new part. `optimise` takes seconds, so it is only called in a
process that serves nobody (`infra.vectors.edge_rebuild`).

The engine holds the interpreter lock in every call, raises bare `Exception`, and writes to disk only in
`flush`; its write-ahead log keeps acknowledged writes through a kill of the process.
"""

import fcntl
import os
from array import array
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import qdrant_edge as qdrant

from infra.child import CallRefused, Handlers, child_main
from infra.durable_files import sync_tree

# Without a graph a search compares all of a company's int8 vectors, which loses nothing up to about a million
# faces a company. A segment is indexed (here: quantised) from this many KB.
_NO_GRAPH = qdrant.HnswIndexConfig(m=0, ef_construct=16, full_scan_threshold=0)
_INDEXING_THRESHOLD_KB = 1
_MAX_SEGMENT_KB = 1_000_000_000

# How many quantised candidates are scored exactly: three for each one asked for, and no fewer than 64, as a
# quantised cosine is off by up to 0.004, within which faces of one person may lie.
_OVERSAMPLING = 3.0
_MIN_CANDIDATES = 64

_BACKGROUND_NICENESS = 10


class EdgeShard:
    """The calls of the index process, by the names that the host uses."""

    def __init__(self, directory: Path, dimensions: int) -> None:
        self._directory = directory
        if (directory / "edge_config.json").exists():
            self._shard = qdrant.EdgeShard.load(str(directory))
        else:
            self._shard = qdrant.EdgeShard.create(str(directory), _config(dimensions))
            for field, index in (
                ("company", qdrant.UuidIndexParams(is_tenant=True)),
                ("groups", qdrant.KeywordIndexParams()),
            ):
                self._shard.update(qdrant.UpdateOperation.create_field_index(field, index))

    def handlers(self) -> Handlers:
        return {
            "status": self.status,
            "upsert": self.upsert,
            "delete": self.delete,
            "query": self.query,
            "retrieve": self.retrieve,
            "scroll": self.scroll,
            "count": self.count,
            "flush": self.flush,
            "optimise": self.optimise,
        }

    def status(self, _: None) -> dict[str, int]:
        """`points`, and how many of them are `indexed`, that is, in the base."""
        info = self._shard.info()
        return {"points": info.points_count, "indexed": info.indexed_vectors_count}

    def upsert(self, records: list[list[Any]]) -> None:
        """Write records. A point of another company keeps its id, whoever writes one with it."""
        for company in dict.fromkeys(record[2] for record in records):
            points = [_to_engine(*record) for record in records if record[2] == company]
            theirs = qdrant.Filter(must=_of_company(company))
            self._shard.update(qdrant.UpdateOperation.upsert_points(points, condition=theirs))

    def delete(self, request: dict[str, Any]) -> None:
        """`ids`, those of them that are of the `company`; of any company if that is None."""
        ids: set[Any] = {UUID(bytes=face_id) for face_id in request["ids"]}
        chosen = qdrant.Filter(must=[qdrant.HasIdCondition(ids), *_of_company(request["company"])])
        self._shard.update(qdrant.UpdateOperation.delete_points_by_filter(chosen))

    def query(self, request: dict[str, Any]) -> list[list[tuple[bytes, float, str, int]]]:
        """For each of the `probes` the `limit` best of the `company`; in one of `groups`, if not None."""
        limit: int = request["limit"]
        conditions: list[Any] = _of_company(request["company"])
        if request["groups"] is not None:
            conditions.append(qdrant.FieldCondition("groups", match=qdrant.MatchAny(request["groups"])))
        requests = [
            qdrant.QueryRequest(
                query=qdrant.Query.Nearest(_floats(probe)),
                limit=limit,
                filter=qdrant.Filter(must=conditions),
                with_payload=["user", "change"],
                params=qdrant.SearchParams(
                    quantization=qdrant.QuantizationSearchParams(
                        rescore=True, oversampling=max(_OVERSAMPLING, _MIN_CANDIDATES / limit)
                    )
                ),
            )
            for probe in request["probes"]
        ]
        answers = self._shard.query_batch(qdrant.QueryBatchRequest(requests))
        return [[_from_hit(hit) for hit in hits] for hits in answers]

    def retrieve(self, request: dict[str, Any]) -> list[list[Any]]:
        """The records of `ids` that are there and of the `company`; of any company if that is None."""
        ids: list[Any] = [UUID(bytes=face_id) for face_id in request["ids"]]
        records = [_from_engine(record) for record in self._shard.retrieve(ids, True, True)]
        company: str | None = request["company"]
        return records if company is None else [record for record in records if record[2] == company]

    def scroll(self, request: dict[str, Any]) -> dict[str, Any]:
        """Up to `limit` records in id order from `start`, and the `next` id or None; any company: None."""
        records, following = self._shard.scroll(
            qdrant.ScrollRequest(
                offset=UUID(bytes=request["start"]),
                limit=request["limit"],
                filter=qdrant.Filter(must=_of_company(request["company"])),
                with_payload=True,
                with_vector=True,
            )
        )
        return {
            "records": [_from_engine(record) for record in records],
            "next": None if following is None else _bytes(following),
        }

    def count(self, company: str) -> int:
        return self._shard.count(
            qdrant.CountRequest(exact=True, filter=qdrant.Filter(must=_of_company(company)))
        )

    def flush(self, _: None) -> None:
        self._shard.flush()

    def optimise(self, _: None) -> None:
        """Make all points the base, and bring every file of it to disk, which the engine leaves to chance."""
        self._shard.optimize()
        self._shard.flush()
        sync_tree(self._directory)

    def close(self) -> None:
        self._shard.close()


def _config(dimensions: int) -> qdrant.EdgeConfig:
    return qdrant.EdgeConfig(
        vectors=qdrant.EdgeVectorParams(size=dimensions, distance=qdrant.Distance.Cosine),
        hnsw_config=_NO_GRAPH,
        quantization_config=qdrant.ScalarQuantizationConfig(
            type=qdrant.ScalarType.Int8, memory=qdrant.Memory.Pinned
        ),
        optimizers=qdrant.EdgeOptimizersConfig(
            indexing_threshold=_INDEXING_THRESHOLD_KB,
            default_segment_number=1,
            max_segment_size=_MAX_SEGMENT_KB,
        ),
    )


def _of_company(company: str | None) -> list[Any]:
    if company is None:
        return []
    return [qdrant.FieldCondition("company", match=qdrant.MatchValue(company))]


def _to_engine(
    face_id: bytes, vector: bytes, company: str, user: str, groups: list[str], change: int
) -> qdrant.Point:
    payload = {"company": company, "user": user, "groups": groups, "change": change}
    return qdrant.Point(UUID(bytes=face_id), _floats(vector), payload)


def _from_engine(record: qdrant.Record) -> list[Any]:
    payload: dict[str, Any] = record.payload or {}
    vector: Any = record.vector
    return [
        _bytes(record.id),
        array("f", vector).tobytes(),
        payload["company"],
        payload["user"],
        payload["groups"],
        payload["change"],
    ]


def _from_hit(hit: qdrant.ScoredPoint) -> tuple[bytes, float, str, int]:
    payload: dict[str, Any] = hit.payload or {}
    return _bytes(hit.id), hit.score, payload["user"], payload["change"]


def _bytes(point_id: int | UUID | str) -> bytes:
    assert isinstance(point_id, UUID)  # noqa: S101 - the engine also knows numbers; we write none
    return point_id.bytes


def _floats(vector: bytes) -> list[float]:
    return array("f", vector).tolist()


def _own(directory: Path) -> None:
    """Wait until no other process has the shard: that of a host which was just killed may not be gone yet."""
    # Never closed: the kernel lets go of the lock when this process ends, however it ends.
    fcntl.flock(os.open(directory, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_EX)


@contextmanager
def opened(arguments: Mapping[str, Any]) -> Generator[Handlers, None, None]:
    """Arguments: `directory`, `dimensions`, and `background`, true for a process that serves nobody yet."""
    if arguments["background"]:
        os.nice(_BACKGROUND_NICENESS)
    directory = Path(arguments["directory"])
    _own(directory)
    try:
        shard = EdgeShard(directory, arguments["dimensions"])
    except Exception as error:  # the engine raises nothing more special; this text names files only
        raise CallRefused("unreadable_index", str(error)) from error
    try:
        yield shard.handlers()
    finally:
        shard.close()


if __name__ == "__main__":
    child_main(opened)
