"""Publishing to Kafka: in order, acknowledged by all replicas in sync, in limited time."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from infra.broker.kafka.client import Producer, answering, new_producer, stop_producer
from infra.broker.partitions import partition_of
from infra.broker.port import BrokerError, BrokerUnavailable, OutgoingMessage
from infra.common_clock import CommonClock
from infra.documents.fields import from_microseconds
from infra.store_breaker import StoreBreaker, StoreLeftAlone

_PUBLISH_S: Final = 10.0
_HINT_S: Final = 1.0


class KafkaProducer:
    """One idempotent producer, replaced when it has failed for good. What Kafka stamps of what this sends
    keeps the clock right."""

    def __init__(
        self, options: Mapping[str, Any], max_message_bytes: int, clock: CommonClock, breaker: StoreBreaker
    ) -> None:
        self._options = options
        self._max_message_bytes = max_message_bytes
        self._clock = clock
        self._breaker = breaker
        self._producer: Producer | None = None
        self._probe: asyncio.Future[Any] | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        async with answering("take a producer", _PUBLISH_S):
            await self._started()

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)

    async def publish(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        """Returns when all are acknowledged. Ended otherwise, any of them may be there, or come to be."""
        sent: list[asyncio.Future[Any]] = []
        async with self._acknowledged("acknowledge what was published", _PUBLISH_S) as producer:
            partitions = len(await producer.partitions_for(topic))
            for message in messages:
                number = partition_of(message.key, partitions)
                sent.append(await self._send(producer, topic, message.value, message.key, number))
            # Not `gather`: it would cancel what is under way when time runs out.
            await asyncio.wait(sent)
            for future in sent:
                future.result()

    async def probe(self, topic: str, partition: int, value: bytes, limit_s: float) -> None:
        """Find out whether Kafka can be written, and what time it is there. One message at most is under way
        for that: while Kafka is down none are added to it."""
        async with self._acknowledged("take a message", limit_s) as producer:
            if self._probe is None or self._probe.done():
                self._probe = await self._send(producer, topic, value, b"", partition)
            await asyncio.wait([self._probe])
            self._probe.result()

    async def hint(self, topic: str, partition: int, value: bytes) -> None:
        """Publish without waiting for anybody; it may be lost."""
        try:
            async with answering("take a hint", _HINT_S):
                producer = await self._started()
                if partition in await producer.partitions_for(topic):
                    await self._send(producer, topic, value, b"", partition)
        except BrokerError:
            return

    @asynccontextmanager
    async def _acknowledged(self, what: str, limit_s: float) -> AsyncGenerator[Producer]:
        producer = None
        try:
            with self._breaker.call(_is_silence):
                async with answering(what, limit_s):
                    producer = await self._started()
                    yield producer
        except StoreLeftAlone as left:
            raise BrokerUnavailable(str(left)) from None
        except BrokerUnavailable as error:
            # Time running out says nothing of the producer, any other error that it may not go on.
            if not _is_silence(error):
                await self._replace(producer)
            raise

    async def _send(
        self, producer: Producer, topic: str, value: bytes, key: bytes, partition: int
    ) -> asyncio.Future[Any]:
        """Hand a message to the producer; whoever waits for what is answered finds out what came of it."""
        own, at = self._clock.own, self._clock.own.now()

        def ended(future: asyncio.Future[Any]) -> None:
            # Where nobody waits for it any more its error is not worth a line.
            if not future.cancelled() and future.exception() is None:
                stamp_ms = future.result().timestamp
                if stamp_ms > 0:  # What had been appended before, and was sent again, has none.
                    stamp = from_microseconds(stamp_ms * 1000)
                    self._clock.stamped(stamp, sent=at, acknowledged=own.now())

        sent = await producer.send(topic, value, key, partition)
        sent.add_done_callback(ended)
        return sent

    async def _started(self) -> Producer:
        async with self._starting:
            if self._producer is None:
                producer = new_producer(self._options, self._max_message_bytes)
                try:
                    await producer.start()
                except BaseException:
                    await stop_producer(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _replace(self, failed: Producer | None) -> None:
        if failed is not None and self._producer is failed:
            self._producer = None
            await stop_producer(failed)


def _is_silence(error: BaseException) -> bool:
    return isinstance(error.__cause__, TimeoutError)
