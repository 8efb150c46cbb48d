"""The dead-letter topic: messages that could not be dealt with, as they were, and why."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

import msgpack

from infra.broker.port import Broker, Delivery, OutgoingMessage, Topic
from infra.clock import Clock


class DeadLetterUnreadable(ValueError):
    """These bytes are not a dead letter."""


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up, where it came from, and what it died of after how many attempts."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    cause: str
    attempts: int
    died_at: datetime

    def pack(self) -> bytes:
        return msgpack.packb({**vars(self), "died_at": self.died_at.isoformat()})

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Raises DeadLetterUnreadable."""
        try:
            fields: dict[str, Any] = msgpack.unpackb(packed)
            fields["died_at"] = datetime.fromisoformat(fields["died_at"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
            raise DeadLetterUnreadable("not a dead letter") from error


def place_of(message: Delivery | DeadLetter) -> str:
    """Where a message was given up: names one that names no job."""
    return f"{message.topic}/{message.partition}/{message.offset}"


class BrokerDeadLetters:
    """Publishes to the dead-letter topic; one message may be there twice, after a crash in between."""

    def __init__(self, broker: Broker, topic: Topic, clock: Clock) -> None:
        self._broker = broker
        self._topic = topic
        self._clock = clock

    async def put(self, delivery: Delivery, cause: str, attempts: int) -> None:
        letter = DeadLetter(
            topic=delivery.topic,
            partition=delivery.partition,
            offset=delivery.offset,
            key=delivery.key,
            value=delivery.value,
            cause=cause,
            attempts=attempts,
            died_at=self._clock.now(),
        )
        await self._broker.publish(self._topic, [OutgoingMessage(delivery.key, letter.pack())])


OPERATORS: Final = "operators"
"""The group of those who look at dead letters."""

_PAGE: Final = 50
_PAGE_BYTES: Final = 16 * 2**20
_WAIT_S: Final = 5.0


async def stored_letters(broker: Broker, topic: Topic) -> AsyncGenerator[Delivery]:
    """Everything on the dead-letter topic, oldest first. Nothing is marked as done, so that all of it is
    there for the next reader. On one machine there can be one reader at a time."""
    subscription = await broker.subscribe(topic, OPERATORS)
    try:
        left = (await broker.lag(topic, OPERATORS)).messages
        while left > 0:
            page = await subscription.fetch(max_messages=_PAGE, max_bytes=_PAGE_BYTES, wait_s=_WAIT_S)
            if not page:
                return
            left -= len(page)
            for delivery in page:
                yield delivery
    finally:
        await subscription.close()
