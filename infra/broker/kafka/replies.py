"""Hints that a job has ended, over a topic: an ingress reads one partition of it, from its end."""

from typing import Final
from uuid import UUID

from infra.broker.kafka.client import Consumer, TopicPartition, answering, stop_consumer
from infra.broker.port import BrokerError, Replies, Topic

REPLIES: Final = Topic("replies", partitions=16, keyed=False, retention_s=600)
"""An ingress has a partition to itself as long as there are fewer of them; beyond that they hear each other's
hints too, which are ignored."""

_OPEN_S: Final = 10.0
_ID_BYTES: Final = 16


def pack(company_id: UUID, job_id: UUID) -> bytes:
    return company_id.bytes + job_id.bytes


class KafkaReplies(Replies):
    """A partition's hints from now on."""

    def __init__(self, consumer: Consumer, topic: str, partition: int) -> None:
        self._consumer = consumer
        self._place = TopicPartition(topic, partition)
        self._closed = False

    @property
    def address(self) -> str:
        return str(self._place.partition)

    async def open(self) -> None:
        """Raises BrokerUnavailable."""
        try:
            async with answering("open replies", _OPEN_S):
                await self._consumer.start()
                self._consumer.assign([self._place])
                await self._consumer.seek_to_end(self._place)
                await self._consumer.position(self._place)
        except BaseException:
            await self.close()
            raise

    async def receive(self) -> tuple[UUID, UUID]:
        """The next hint. Raises BrokerError once the inbox is closed."""
        while True:
            try:
                hint = (await self._consumer.getone()).value or b""
            except Exception as error:
                raise BrokerError("the inbox is closed") from error
            if len(hint) == 2 * _ID_BYTES:
                return UUID(bytes=hint[:_ID_BYTES]), UUID(bytes=hint[_ID_BYTES:])

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await stop_consumer(self._consumer)
