"""aiokafka, which ships no types, behind those that the adapter uses. Nothing else imports it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, Protocol, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, conn
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    for_code,
)
from aiokafka.structs import TopicPartition

from infra.broker.port import BrokerError, BrokerUnavailable

__all__ = ["KafkaError", "TopicPartition"]

NotAMember: Final = (CommitFailedError, IllegalStateError)
"""What a commit ends with when the partitions are not ours any more."""

REFUSED_LOGIN: Final = (SaslAuthenticationFailed, UnsupportedSaslMechanismError)
"""What a login ends with that is refused."""

# aiokafka gives up a single request after this; each of our calls has a shorter limit of its own. Longer than
# a rebalance may keep a member waiting.
_REQUEST_MS: Final = 15_000
_STOP_S: Final = 2.0


class Record(Protocol):
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Committed(NamedTuple):
    offset: int
    metadata: str


class Producer(Protocol):
    async def start(self) -> None: ...
    async def partitions_for(self, topic: str) -> set[int]: ...
    async def send(self, topic: str, value: bytes, key: bytes, partition: int) -> "asyncio.Future[Any]": ...


class Consumer(Protocol):
    async def start(self) -> None: ...
    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Record]]: ...
    async def getone(self) -> Record: ...
    async def commit(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None: ...
    async def beginning_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]: ...
    async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]: ...
    async def seek_to_end(self, *places: TopicPartition) -> None: ...
    async def position(self, place: TopicPartition) -> int: ...
    def subscribe(self, topics: Sequence[str], *, listener: object) -> None: ...
    def assign(self, places: Sequence[TopicPartition]) -> None: ...
    def assignment(self) -> set[TopicPartition]: ...
    def seek(self, place: TopicPartition, offset: int) -> None: ...
    def pause(self, *places: TopicPartition) -> None: ...


class Admin(Protocol):
    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def create_topics(self, new_topics: Sequence[object], timeout_ms: int) -> Any: ...
    async def describe_topics(self, topics: Sequence[str] | None = None) -> list[dict[str, Any]]: ...
    async def describe_configs(self, config_resources: Sequence[object]) -> list[Any]: ...
    async def alter_configs(self, config_resources: Sequence[object]) -> list[Any]: ...
    async def list_consumer_group_offsets(
        self, group_id: str, *, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, Committed]: ...


@asynccontextmanager
async def answering(what: str, limit_s: float) -> AsyncGenerator[None]:
    """The port's errors for a call to Kafka, and a limit to how long it may take."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        raise BrokerUnavailable(f"Kafka did not {what} within {limit_s:g} s") from error
    except MessageSizeTooLargeError as error:
        raise BrokerError("the message is larger than Kafka is set up to take") from error
    except (KafkaError, OSError) as error:
        raise BrokerUnavailable(f"Kafka did not {what}: {type(error).__name__}") from error


def new_producer(options: Mapping[str, Any], max_message_bytes: int) -> Producer:
    """Idempotent: a message that Kafka was sent twice for want of an answer is there once."""
    producer: Any = AIOKafkaProducer(
        **options,
        request_timeout_ms=_REQUEST_MS,
        enable_idempotence=True,
        acks="all",
        linger_ms=0,
        max_batch_size=65_536,
        max_request_size=max_message_bytes,
    )
    return cast("Producer", producer)


def new_member(
    options: Mapping[str, Any], group: str, *, instance: str | None, session_s: float, fetch_bytes: int
) -> Consumer:
    """A member of a group that commits by itself alone, and keeps its partitions however long it is busy."""
    # aiokafka remembers an assignment in the assignor's class: a class for each member, or they mix.
    assignor = type("Sticky", (StickyPartitionAssignor,), {})
    session_ms = int(session_s * 1000)
    consumer: Any = AIOKafkaConsumer(
        **options,
        request_timeout_ms=_REQUEST_MS,
        group_id=group,
        group_instance_id=instance,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=(assignor,),
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // 4,
        rebalance_timeout_ms=min(session_ms, 6_000),
        # A window may stay full for as long as a store is down.
        max_poll_interval_ms=2**31 - 1,
        fetch_max_wait_ms=250,
        fetch_max_bytes=fetch_bytes,
    )
    return cast("Consumer", consumer)


def new_reader(options: Mapping[str, Any], *, at: str, chunk_bytes: int = 2**20) -> Consumer:
    """A consumer without a group, which begins `at` the `earliest` or the `latest` message."""
    consumer: Any = AIOKafkaConsumer(
        **options,
        request_timeout_ms=_REQUEST_MS,
        enable_auto_commit=False,
        auto_offset_reset=at,
        max_partition_fetch_bytes=chunk_bytes,
    )
    return cast("Consumer", consumer)


def new_admin(options: Mapping[str, Any]) -> Admin:
    admin: Any = AIOKafkaAdminClient(**options, request_timeout_ms=_REQUEST_MS)
    return cast("Admin", admin)


def new_topic(name: str, partitions: int, replicas: int, settings: Mapping[str, str]) -> object:
    return NewTopic(name, partitions, replicas, topic_configs=dict(settings))


def settings_of(topic: str, settings: Mapping[str, str] | None = None) -> object:
    """A topic's settings, to ask for (None) or to set."""
    return ConfigResource(ConfigResourceType.TOPIC, topic, settings and dict(settings))


def error_name(code: int) -> str:
    """What Kafka calls an error."""
    error: Any = for_code(code)
    return str(error.__name__)


class Rebalances(ConsumerRebalanceListener):
    """Passes on which partitions of a topic go and come. aiokafka awaits what these answer."""

    def __init__(
        self,
        revoked: Callable[[Collection[int]], Awaitable[None]],
        assigned: Callable[[Collection[int]], Awaitable[None]],
    ) -> None:
        self._revoked = revoked
        self._assigned = assigned

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> Any:
        return self._revoked([place.partition for place in revoked])

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> Any:
        return self._assigned([place.partition for place in assigned])


async def connected(options: Mapping[str, Any], host: str, port: int, limit_s: float) -> None:
    """Connect and log in, and raise what is in the way: aiokafka's clients only log it."""
    settings: dict[str, Any] = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    limit_ms = int(limit_s * 1000)
    connection: Any = cast("Any", conn).AIOKafkaConnection(
        host, port, request_timeout_ms=limit_ms, **settings
    )
    try:
        async with asyncio.timeout(limit_s):
            await connection.connect()
    finally:
        connection.close()
        if connection._protocol is not None and connection._protocol._transport is not None:
            # Or TLS waits half a minute for a server that has refused us to take its leave.
            connection._protocol._transport.abort()


def is_dead(consumer: Consumer) -> bool:
    """Whether one of its tasks has ended with an error, so that it will never answer again."""
    insides: Any = consumer
    coordinator, fetcher = insides._coordinator, insides._fetcher
    if coordinator is None or fetcher is None:
        return False
    return bool(coordinator._coordination_task.done() or fetcher._fetch_task.done())


async def stop_consumer(consumer: Consumer) -> None:
    """Leave the group and close the connections, in limited time whatever the broker does."""
    insides: Any = consumer
    # What its `stop` does, which waits for the broker at each step, for as long as that takes.
    insides._closed = True
    for part in (insides._coordinator, insides._fetcher, insides._client):
        if part is not None:
            await _ended(part.close())


async def stop_producer(producer: Producer) -> None:
    """Send what is under way and close the connections, in limited time whatever the broker does."""
    insides: Any = producer
    insides._closed = True
    for part in (insides._message_accumulator, insides._sender, insides.client):
        await _ended(part.close())


async def _ended(work: Awaitable[None]) -> None:
    """Let it end, or end it. It runs as a task of its own: it may raise CancelledError."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=_STOP_S)
    finally:
        task.cancel()
    done, _ = await asyncio.wait([task], timeout=_STOP_S)
    if done and not task.cancelled():
        task.exception()  # whatever it is, it was told in the log
