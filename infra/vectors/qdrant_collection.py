"""The collections that one index has on a Qdrant server, and which of them is in use.

An edition is a collection made once: `NAME~1` at the first start, `NAME~…` by each `faceid reindex`. The
alias `NAME` points to the one in use. Nobody reads or writes through the alias: a process keeps to the
edition that it knows until that is gone, so that none can take a new, emptier edition for the one whose
contents it has noted (`Vectors.edition`).
"""

from dataclasses import dataclass
from math import isclose
from typing import Any, Final
from uuid import uuid4

import structlog
from qdrant_client import models

from infra.refused import StoreRefused
from infra.vectors.port import VectorsError, VectorsUnavailable
from infra.vectors.qdrant_calls import QdrantCalls

_log = structlog.get_logger(__name__)

_FIRST: Final = "1"

FLUSH_INTERVAL_S: Final = 1
"""How often the server brings its log, and then its segments, to disk (its own default is 5)."""

# int8 in memory, the vectors as they were on disk: they are only read of the candidates.
_QUANTILE: Final = 0.99
_QUANTISATION: Final = models.ScalarQuantization(
    scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=_QUANTILE, always_ram=True)
)
_GRAPH_LINKS: Final = 16


@dataclass(frozen=True)
class QdrantLayout:
    """How the index lies on the servers."""

    shards: int = 1
    replicas: int = 1
    write_replicas: int | None = None
    """So many must have a write before it counts; None: the majority."""
    graph: bool = False
    """A graph of each company's points, for companies beyond a million faces; otherwise all are compared."""

    @property
    def writes_needed(self) -> int:
        return self.replicas // 2 + 1 if self.write_replicas is None else self.write_replicas


@dataclass(frozen=True)
class Edition:
    """A collection, and the stamp it was made with, which no other ever has."""

    collection: str
    stamp: str


@dataclass(frozen=True)
class QdrantIndex:
    """The editions of the index of one model, by its name."""

    calls: QdrantCalls
    name: str
    dimensions: int
    layout: QdrantLayout

    async def opened(self) -> Edition:
        """The edition in use, made if there is none. Raises StoreRefused if it is not as it should be."""
        collection = await self._in_use()
        if collection is None:
            collection = f"{self.name}~{_FIRST}"
            editions = await self._editions()
            if set(editions) - {collection}:
                raise VectorsUnavailable(
                    f"{self.calls.where}: the index {self.name} is being made anew, or that was cut "
                    "off: then run `faceid reindex` again"
                )
            # Of two processes that start at once one makes it, and both then say the same.
            if not editions:
                await self._make(collection)
            await self.put_in_use(collection)
        info = await self.calls.call(self.calls.client.get_collection(collection))
        await self._bring_in_line(collection, info)
        return _edition(collection, info)

    async def found(self) -> Edition:
        """The edition in use. Raises VectorsUnavailable if there is none."""
        collection = await self._in_use()
        if collection is None:
            raise VectorsUnavailable(
                f"{self.calls.where} has no index {self.name}: it is being made anew (`faceid reindex`), or "
                "was lost and comes back when a worker starts"
            )
        return _edition(collection, await self.calls.call(self.calls.client.get_collection(collection)))

    async def made_anew(self) -> Edition:
        """A new, empty edition that is not in use yet."""
        collection = f"{self.name}~{uuid4().hex[:12]}"
        await self._make(collection)
        info = await self.calls.call(self.calls.client.get_collection(collection))
        await self._bring_in_line(collection, info)
        return _edition(collection, info)

    async def put_in_use(self, collection: str) -> None:
        """From here on who looks for the index finds this edition."""
        alias = models.CreateAlias(collection_name=collection, alias_name=self.name)
        action = models.CreateAliasOperation(create_alias=alias)
        await self.calls.call(self.calls.client.update_collection_aliases([action]))

    async def remove_others(self, collection: str) -> None:
        """Delete every other edition, one that was left half made included: who still uses one can't go on
        with it."""
        for edition in await self._editions():
            if edition != collection:
                await self.calls.call(self.calls.client.delete_collection(edition))

    async def _in_use(self) -> str | None:
        answer = await self.calls.call(self.calls.client.get_aliases())
        return next((a.collection_name for a in answer.aliases if a.alias_name == self.name), None)

    async def _editions(self) -> list[str]:
        answer = await self.calls.call(self.calls.client.get_collections())
        return [c.name for c in answer.collections if c.name.startswith(f"{self.name}~")]

    async def _make(self, collection: str) -> None:
        layout = self.layout
        creating = self.calls.client.create_collection(
            collection,
            vectors_config=models.VectorParams(
                size=self.dimensions, distance=models.Distance.COSINE, on_disk=True
            ),
            hnsw_config=_hnsw(layout),
            quantization_config=_QUANTISATION,
            optimizers_config=models.OptimizersConfigDiff(flush_interval_sec=FLUSH_INTERVAL_S),
            shard_number=layout.shards,
            replication_factor=layout.replicas,
            write_consistency_factor=layout.writes_needed,
            metadata={"stamp": uuid4().hex},
        )
        try:
            await self.calls.call(creating)
        except VectorsError:
            if collection not in await self._editions():
                raise
        _log.info("index_collection_made", collection=collection)

    async def _bring_in_line(self, collection: str, info: models.CollectionInfo) -> None:
        """Change what can be changed in place; raises StoreRefused for the rest."""
        client, params, layout = self.calls.client, info.config.params, self.layout
        vectors = params.vectors
        if not isinstance(vectors, models.VectorParams) or (vectors.size, vectors.distance) != (
            self.dimensions,
            models.Distance.COSINE,
        ):
            raise StoreRefused(
                f"index: {self.calls.where}: the collection {collection} is not of {self.dimensions} "
                "dimensions compared by cosine: somebody else made it"
            )
        for setting, meant, found in (
            ("FACEID_QDRANT_SHARDS", layout.shards, params.shard_number),
            ("FACEID_QDRANT_REPLICAS", layout.replicas, params.replication_factor),
        ):
            if meant != found:
                raise StoreRefused(
                    f"index: {self.calls.where}: {setting} is {meant}, the index was made with {found}: "
                    "set it back, or make the index anew with `faceid reindex`"
                )
        if not _in_line(info, layout):
            await self.calls.call(
                client.update_collection(
                    collection,
                    hnsw_config=_hnsw(layout),
                    quantization_config=_QUANTISATION,
                    optimizers_config=models.OptimizersConfigDiff(flush_interval_sec=FLUSH_INTERVAL_S),
                    collection_params=models.CollectionParamsDiff(
                        write_consistency_factor=layout.writes_needed
                    ),
                )
            )
            _log.info("index_collection_changed", collection=collection)
        indexes: dict[str, models.KeywordIndexParams] = {
            # Points of one company lie together on disk.
            "company": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
            "groups": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD),
        }
        for field, schema in indexes.items():
            if field not in info.payload_schema:
                await self.calls.call(client.create_payload_index(collection, field, field_schema=schema))


def _hnsw(layout: QdrantLayout) -> models.HnswConfigDiff:
    # Never a graph over all companies (m): only within one, and only where it is asked for.
    return models.HnswConfigDiff(m=0, payload_m=_GRAPH_LINKS if layout.graph else 0)


def _in_line(info: models.CollectionInfo, layout: QdrantLayout) -> bool:
    config, hnsw = info.config, _hnsw(layout)
    found = (
        config.hnsw_config.m,
        config.hnsw_config.payload_m,
        config.optimizer_config.flush_interval_sec,
        config.params.write_consistency_factor,
    )
    meant = (hnsw.m, hnsw.payload_m, FLUSH_INTERVAL_S, layout.writes_needed)
    quantisation = config.quantization_config
    return (
        found == meant
        and isinstance(quantisation, models.ScalarQuantization)
        # It travels as a float of 4 bytes.
        and isclose(quantisation.scalar.quantile or 0.0, _QUANTILE, rel_tol=1e-6)
    )


def _edition(collection: str, info: models.CollectionInfo) -> Edition:
    metadata: dict[str, Any] = info.config.metadata or {}
    stamp = metadata.get("stamp")
    if not isinstance(stamp, str):
        raise StoreRefused(
            f"index: the collection {collection} has no stamp: somebody else made it, or the server is older "
            "than Qdrant 1.18"
        )
    return Edition(collection, stamp)
