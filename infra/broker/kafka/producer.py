"""Publishing to Kafka: in order, acknowledged by all replicas in sync, in limited time."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from infra.broker.kafka.client import Producer, answering, new_producer, stop_producer
from infra.broker.partitions import partition_of
from infra.broker.port import BrokerError, BrokerUnavailable, OutgoingMessage

_PUBLISH_S: Final = 10.0
_HINT_S: Final = 1.0


class KafkaProducer:
    """One idempotent producer, replaced when it has failed for good."""

    def __init__(self, options: Mapping[str, Any], max_message_bytes: int) -> None:
        self._options = options
        self._max_message_bytes = max_message_bytes
        self._producer: Producer | None = None
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
        producer = None
        try:
            async with answering("acknowledge what was published", _PUBLISH_S):
                producer = await self._started()
                partitions = len(await producer.partitions_for(topic))
                for message in messages:
                    number = partition_of(message.key, partitions)
                    sent.append(await producer.send(topic, message.value, message.key, number))
                # Not `gather`: it would cancel what is under way when time runs out.
                await asyncio.wait(sent)
                for future in sent:
                    future.result()
        except BrokerUnavailable as error:
            # Time running out says nothing of the producer, any other error that it may not go on.
            if not isinstance(error.__cause__, TimeoutError):
                await self._replace(producer)
            raise
        finally:
            _disregard(sent)

    async def hint(self, topic: str, partition: int, value: bytes) -> None:
        """Publish without waiting for anybody; it may be lost."""
        try:
            async with answering("take a hint", _HINT_S):
                producer = await self._started()
                if partition in await producer.partitions_for(topic):
                    _disregard([await producer.send(topic, value, b"", partition)])
        except BrokerError:
            return

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


def _disregard(sent: Sequence[asyncio.Future[Any]]) -> None:
    """Nobody waits for these any more: their errors are not worth a line each."""
    for future in sent:
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
