"""The broker role: durable topics, ordered within a partition, read by groups and acknowledged after saving.

The port is what Kafka and a SQLite log have in common. What is built on it once for all adapters (the window
in flight, retries in place, parking of keys, dead letters) is `infra.broker.window`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Topic:
    """A declared topic. `keyed` says that messages of one key must be handled one after another, in order."""

    name: str
    partitions: int
    keyed: bool
    retention_s: int


@dataclass(frozen=True)
class OutgoingMessage:
    """What is published: `key` decides the partition; `value` is opaque to the broker."""

    key: bytes
    value: bytes


@dataclass(frozen=True)
class Delivery:
    """One message as a group's member gets it. `redelivered`: a member before this one may have begun with
    it."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    appended_at: datetime
    redelivered: bool


@dataclass(frozen=True)
class Lag:
    """What a group has not yet consumed of a topic."""

    messages: int
    oldest_appended_at: datetime | None
    consumed: int = field(compare=False)
    """How many it is past, over all partitions and times: two looks tell how fast it is."""


OnRevoked = Callable[[Collection[int]], None]
"""Told the numbers of partitions that may go to another member as soon as the call returns."""


class BrokerError(Exception):
    """The broker could not do what was asked."""


class BrokerUnavailable(BrokerError):
    """The broker does not answer. A publish that ends so may still have happened: repeat it under the same
    job id."""


class Subscription(ABC):
    """A group's membership in one topic. Not safe for use by several tasks at once, `done` excepted.

    Where a group may have several members, partitions come and go. A message of a partition that has gone may
    go on being dealt with: the next member gets it `redelivered`, and either may say that it is done.
    """

    @abstractmethod
    async def fetch(self, *, max_messages: int, max_bytes: int, wait_s: float) -> list[Delivery]:
        """The next messages, at most so many and (after the first) so many bytes; empty when none came in
        time.

        Each is handed out once a membership. A first message is handed out at whatever size."""

    @abstractmethod
    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """These were dealt with and what came of them is saved. The group's position moves up to the first
        message of a partition that is not done; what lies below it is never delivered to the group again.

        Of a partition that is another member's by now this is only noted, in case it comes back."""

    @abstractmethod
    def holds(self, delivery: Delivery) -> bool:
        """Whether the message's partition is this member's."""

    @abstractmethod
    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """These are not being dealt with here (any more): whoever has their partition gets them again.

        What is neither done nor given back is not handed out again here, even if its partition went and came
        back."""

    @abstractmethod
    async def close(self) -> None:
        """Leave the group. Messages handed out and not done are delivered to the next member
        (`redelivered`)."""


class Replies(ABC):
    """An ingress's own inbox of hints that a job has ended."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Where to send hints for this inbox; travels in message headers."""

    @abstractmethod
    async def receive(self) -> tuple[UUID, UUID]:
        """The next hint: company id and job id. Hints may be lost or doubled."""

    @abstractmethod
    async def close(self) -> None: ...


class Broker(ABC):
    """Topics, groups and replies."""

    @abstractmethod
    async def start(self, topics: Sequence[Topic]) -> None:
        """Open the broker and make or check the topics.

        Raises BrokerUnavailable when it does not answer, and StoreRefused when it does and won't do: a topic
        with another partition count than its declaration allows, a wrong password."""

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def publish(
        self, topic: Topic, messages: Sequence[OutgoingMessage], *, synced: bool = True
    ) -> None:
        """Append the messages, in order. `synced=False` as in `Documents`."""

    @abstractmethod
    async def subscribe(
        self, topic: Topic, group: str, *, on_revoked: OnRevoked | None = None
    ) -> Subscription:
        """Join a group, whose position in a topic that it is new to is the oldest message.

        What was handed out of revoked partitions and is not being dealt with has to be given back within the
        call of `on_revoked`."""

    @abstractmethod
    async def lag(self, topic: Topic, group: str) -> Lag:
        """Asking does not make anybody a member, and may be done every second."""

    @abstractmethod
    async def open_replies(self) -> Replies:
        """From when this returns, hints to its address are received."""

    @abstractmethod
    async def reply(self, address: str, company_id: UUID, job_id: UUID) -> None:
        """Hint to an inbox that a job has ended. Never raises for an inbox that is gone."""

    @abstractmethod
    async def clean(self, now: datetime, *, limit: int) -> int:
        """Drop up to `limit` messages that every group is done with, or that are past their topic's
        retention."""

    @abstractmethod
    async def ping(self) -> None:
        """Raises BrokerUnavailable unless the broker can be written."""
