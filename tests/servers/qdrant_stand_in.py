"""A server that speaks Qdrant's gRPC over the brute-force engine that ships with qdrant-client.

For machines where no Qdrant can be had: a process of its own, which many others share, and which may be
killed at any time. What it acknowledged it has again when it is started on the same folder: each write's
request is appended to a log, which is read at start.

It shows that an adapter's calls mean what they are to mean, and what becomes of them when the server dies, is
not there yet, wants a key or TLS. It has no payload indexes, quantisation, graph, shards, replicas or speed:
of those it only notes what it was told, and says it again. It does not survive a power failure.
"""

import argparse
import asyncio
import fcntl
import os
import signal
import struct
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
from qdrant_client import AsyncQdrantClient
from qdrant_client import grpc as generated
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

wire: Any = generated
"""The messages and services, which are generated with types in part only."""

Message = Any
Operation = Callable[["Engine", Message], Awaitable[Message]]

KEY_VARIABLE: Final = "QDRANT_STAND_IN_KEY"

_COMPLETED: Final = wire.UpdateResult(operation_id=0, status=wire.UpdateStatus.Completed)
_LENGTHS: Final = struct.Struct("<BI")

# What a server says of what nobody declared.
HNSW: Final = wire.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000, max_indexing_threads=0)
OPTIMISERS: Final = wire.OptimizersConfigDiff(
    deleted_threshold=0.2,
    vacuum_min_vector_number=1000,
    default_segment_number=0,
    indexing_threshold=10_000,
    flush_interval_sec=5,
)


class Log:
    """Requests as they came, each after its kind and length. What a kill cut off was not acknowledged."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # That of a process that was just killed may be open yet.

    def read(self) -> list[tuple[int, bytes]]:
        self._file.seek(0)
        content, place = self._file.read(), 0
        entries: list[tuple[int, bytes]] = []
        while place + _LENGTHS.size <= len(content):
            kind, length = _LENGTHS.unpack_from(content, place)
            start, end = place + _LENGTHS.size, place + _LENGTHS.size + length
            if end > len(content):
                break
            entries.append((kind, content[start:end]))
            place = end
        self._file.truncate(place)
        return entries

    def append(self, kind: int, request: bytes) -> None:
        self._file.write(_LENGTHS.pack(kind, len(request)) + request)


class Engine:
    """The collections: their points in the local engine, and what they were declared with."""

    def __init__(self) -> None:
        self.local = AsyncQdrantClient(":memory:")
        self.declared: dict[str, Message] = {}
        self.indexes: dict[str, dict[str, Message]] = {}
        self.aliases: dict[str, str] = {}

    async def create(self, request: Message) -> Message:
        if request.collection_name in self.declared:
            raise Refused(
                grpc.StatusCode.ALREADY_EXISTS, f"Collection `{request.collection_name}` already exists!"
            )
        vectors = GrpcToRest.convert_vectors_config(request.vectors_config)
        await self.local.create_collection(request.collection_name, vectors_config=vectors)
        self.declared[request.collection_name] = request
        self.indexes[request.collection_name] = {}
        return wire.CollectionOperationResponse(result=True)

    async def update(self, request: Message) -> Message:
        declared = self.declared[self._known(request.collection_name)]
        declared.hnsw_config.MergeFrom(request.hnsw_config)
        declared.optimizers_config.MergeFrom(request.optimizers_config)
        if request.HasField("quantization_config"):
            declared.quantization_config.CopyFrom(
                wire.QuantizationConfig.FromString(request.quantization_config.SerializeToString())
            )
        if request.params.HasField("write_consistency_factor"):
            declared.write_consistency_factor = request.params.write_consistency_factor
        return wire.CollectionOperationResponse(result=True)

    async def drop(self, request: Message) -> Message:
        name = request.collection_name
        if self.declared.pop(name, None) is None:
            return wire.CollectionOperationResponse(result=False)
        del self.indexes[name]
        self.aliases = {alias: target for alias, target in self.aliases.items() if target != name}
        await self.local.delete_collection(name)
        return wire.CollectionOperationResponse(result=True)

    async def change_aliases(self, request: Message) -> Message:
        for action in request.actions:
            if not action.HasField("create_alias"):
                raise Refused(grpc.StatusCode.UNIMPLEMENTED, "the stand-in only makes aliases")
            made = action.create_alias
            self.aliases[made.alias_name] = self._known(made.collection_name)
        return wire.CollectionOperationResponse(result=True)

    async def index(self, request: Message) -> Message:
        schema = wire.PayloadSchemaInfo(
            data_type=wire.PayloadSchemaType.Keyword, params=request.field_index_params
        )
        self.indexes[self._known(request.collection_name)][request.field_name] = schema
        return wire.PointsOperationResponse(result=_COMPLETED)

    async def upsert(self, request: Message) -> Message:
        await self.local.upsert(
            self._known(request.collection_name),
            [GrpcToRest.convert_point_struct(point) for point in request.points],
            update_filter=(
                GrpcToRest.convert_filter(request.update_filter)
                if request.HasField("update_filter")
                else None
            ),
        )
        return wire.PointsOperationResponse(result=_COMPLETED)

    async def delete(self, request: Message) -> Message:
        await self.local.delete(
            self._known(request.collection_name), GrpcToRest.convert_points_selector(request.points)
        )
        return wire.PointsOperationResponse(result=_COMPLETED)

    async def collection(self, request: Message) -> Message:
        name = self._known(request.collection_name)
        declared = self.declared[name]
        config = wire.CollectionConfig(
            params=wire.CollectionParams(
                shard_number=declared.shard_number,
                replication_factor=declared.replication_factor,
                write_consistency_factor=declared.write_consistency_factor,
                vectors_config=declared.vectors_config,
            ),
            hnsw_config=_over(HNSW, declared.hnsw_config),
            optimizer_config=_over(OPTIMISERS, declared.optimizers_config),
            wal_config=wire.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
            quantization_config=declared.quantization_config,
            metadata=dict(declared.metadata),
        )
        info = wire.CollectionInfo(
            status=wire.CollectionStatus.Green,
            optimizer_status=wire.OptimizerStatus(ok=True),
            segments_count=1,
            config=config,
            payload_schema=self.indexes[name],
        )
        return wire.GetCollectionInfoResponse(result=info)

    async def collections(self, _: Message) -> Message:
        found = [wire.CollectionDescription(name=name) for name in self.declared]
        return wire.ListCollectionsResponse(collections=found)

    async def list_aliases(self, _: Message) -> Message:
        found = [
            wire.AliasDescription(alias_name=alias, collection_name=target)
            for alias, target in self.aliases.items()
        ]
        return wire.ListAliasesResponse(aliases=found)

    async def get(self, request: Message) -> Message:
        records = await self.local.retrieve(
            self._known(request.collection_name),
            [GrpcToRest.convert_point_id(point_id) for point_id in request.ids],
            with_payload=request.with_payload.enable,
            with_vectors=request.with_vectors.enable,
        )
        return wire.GetResponse(result=[RestToGrpc.convert_retrieved_point(record) for record in records])

    async def scroll(self, request: Message) -> Message:
        records, following = await self.local.scroll(
            self._known(request.collection_name),
            GrpcToRest.convert_filter(request.filter),
            limit=request.limit,
            offset=GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None,
            with_payload=True,
            with_vectors=True,
        )
        return wire.ScrollResponse(
            result=[RestToGrpc.convert_retrieved_point(record) for record in records],
            next_page_offset=None
            if following is None
            else RestToGrpc.convert_extended_point_id(str(following)),
        )

    async def query(self, request: Message) -> Message:
        name = self._known(request.collection_name)
        results: list[Message] = []
        for one in request.query_points:
            answer = await self.local.query_points(
                name,
                query=list(one.query.nearest.dense.data),
                query_filter=GrpcToRest.convert_filter(one.filter),
                limit=one.limit,
                with_payload=True,
            )
            hits = [RestToGrpc.convert_scored_point(hit) for hit in answer.points]
            results.append(wire.BatchResult(result=hits))
        return wire.QueryBatchResponse(result=results)

    async def count(self, request: Message) -> Message:
        answer = await self.local.count(
            self._known(request.collection_name), GrpcToRest.convert_filter(request.filter)
        )
        return wire.CountResponse(result=wire.CountResult(count=answer.count))

    def _known(self, name: str) -> str:
        if name not in self.declared:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Collection `{name}` doesn't exist!")
        return name


def _over(defaults: Message, declared: Message) -> Message:
    merged = type(defaults)()
    merged.CopyFrom(defaults)
    merged.MergeFrom(declared)
    return merged


class Refused(Exception):
    """An answer other than the one that was hoped for."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


WRITES: Final[tuple[tuple[Any, Operation], ...]] = (
    (wire.CreateCollection, Engine.create),
    (wire.UpdateCollection, Engine.update),
    (wire.DeleteCollection, Engine.drop),
    (wire.ChangeAliases, Engine.change_aliases),
    (wire.CreateFieldIndexCollection, Engine.index),
    (wire.UpsertPoints, Engine.upsert),
    (wire.DeletePoints, Engine.delete),
)
"""What goes into the log, by its kind."""


class Service:
    """The calls as the server offers them: allowed, one at a time, and written down where they change
    something."""

    def __init__(self, engine: Engine, log: Log, key: str | None) -> None:
        self._engine, self._log, self._key = engine, log, key
        self._turn = asyncio.Lock()

    async def replay(self) -> None:
        """Do again whatever the log has."""
        for kind, content in self._log.read():
            request_type, operation = WRITES[kind]
            await operation(self._engine, request_type.FromString(content))

    def read(self, operation: Operation) -> Any:
        return self._handler(operation, None)

    def write(self, kind: int) -> Any:
        return self._handler(WRITES[kind][1], kind)

    def _handler(self, operation: Operation, kind: int | None) -> Any:
        async def handle(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            given = dict(context.invocation_metadata() or ())
            if self._key is not None and given.get("api-key") != self._key:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT")
            try:
                async with self._turn:
                    answer = await operation(self._engine, request)
                    if kind is not None:
                        self._log.append(kind, request.SerializeToString())
            except Refused as refused:
                await context.abort(refused.code, str(refused))
            except ValueError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Wrong input: {error}")
            return answer

        return handle


def collections_service(service: Service) -> Any:
    """What a client manages collections with."""
    servicer = wire.CollectionsServicer()
    servicer.Create, servicer.Update, servicer.Delete = (service.write(kind) for kind in range(3))
    servicer.UpdateAliases = service.write(3)
    servicer.Get = service.read(Engine.collection)
    servicer.List = service.read(Engine.collections)
    servicer.ListAliases = service.read(Engine.list_aliases)
    return servicer


def points_service(service: Service) -> Any:
    """What a client writes and reads points with."""
    servicer = wire.PointsServicer()
    servicer.CreateFieldIndex, servicer.Upsert, servicer.Delete = (service.write(kind) for kind in (4, 5, 6))
    servicer.Get = service.read(Engine.get)
    servicer.Scroll = service.read(Engine.scroll)
    servicer.QueryBatch = service.read(Engine.query)
    servicer.Count = service.read(Engine.count)
    return servicer


class Health:
    async def HealthCheck(self, request: Message, context: Any) -> Message:  # noqa: N802 - its name
        return wire.HealthCheckReply(title="a stand-in for Qdrant", version="0")


async def serve(folder: Path, port: int, credentials: grpc.ServerCredentials | None) -> None:
    """Serve on loopback until SIGTERM, without TLS if there are no credentials."""
    service = Service(Engine(), Log(folder / "requests.log"), os.environ.get(KEY_VARIABLE))
    await service.replay()
    # Another one must not share the port: a client would then reach now this, now that.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)])
    wire.add_CollectionsServicer_to_server(collections_service(service), server)
    wire.add_PointsServicer_to_server(points_service(service), server)
    wire.add_QdrantServicer_to_server(Health(), server)
    address = f"127.0.0.1:{port}"
    if credentials is None:
        server.add_insecure_port(address)
    else:
        server.add_secure_port(address, credentials)
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(grace=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--private-key", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # The engine says of each declaration that it has no effect.
    credentials = None
    if given.certificate is not None:
        pair = (given.private_key.read_bytes(), given.certificate.read_bytes())
        credentials = grpc.ssl_server_credentials([pair])
    asyncio.run(serve(given.folder, given.port, credentials))


if __name__ == "__main__":
    main()
