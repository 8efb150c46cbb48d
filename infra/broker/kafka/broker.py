"""The broker on Kafka.

A group of ours is a group of Kafka's for each topic, since an eager rebalance of a group stops all of its
topics; each member is one consumer. Keys are spread by our own rule, not Kafka's, so that they lie as in the
embedded log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import randrange
from typing import Any, Final
from uuid import UUID

from infra.broker.kafka import replies
from infra.broker.kafka.address import KafkaAddress
from infra.broker.kafka.client import answering, new_member, new_reader
from infra.broker.kafka.log import quiet_aiokafka
from infra.broker.kafka.places import Places
from infra.broker.kafka.producer import KafkaProducer
from infra.broker.kafka.reaching import reach
from infra.broker.kafka.subscription import KafkaSubscription
from infra.broker.kafka.topics import TopicRules, partition_counts, prepare_topics
from infra.broker.port import (
    Broker,
    BrokerError,
    BrokerUnavailable,
    Lag,
    OnRevoked,
    OutgoingMessage,
    Replies,
    Subscription,
    Topic,
)
from infra.clock import SystemClock
from infra.common_clock import CommonClock
from infra.store_breaker import StoreBreaker
from schemas.ids import PLATFORM

_START_S: Final = 20.0
_PING_S: Final = 3.0
_FETCH_BYTES: Final = 8 * 2**20
_PROBE: Final = replies.pack(PLATFORM, PLATFORM)
"""A hint that nobody waits for."""


@dataclass(frozen=True)
class KafkaOptions:
    """Which cluster, and what we are there. `instance` names a member that keeps its partitions while it is
    restarted; `session_s` is how long a silent one keeps them."""

    address: KafkaAddress
    prefix: str
    replicas: int
    max_message_bytes: int
    instance: str | None = None
    session_s: float = 6.0

    @property
    def rules(self) -> TopicRules:
        return TopicRules(self.prefix, self.replicas, self.max_message_bytes)


class KafkaBroker(Broker):
    """Topics, groups and replies of a cluster. `clock` is kept right by the times at which it appends."""

    def __init__(
        self, options: KafkaOptions, clock: CommonClock | None = None, breaker: StoreBreaker | None = None
    ) -> None:
        self.options = options
        self._breaker = breaker or StoreBreaker("broker")
        self._clock = clock or CommonClock(SystemClock())
        self._rules = options.rules
        self._client_options: dict[str, Any] = {}
        self._producer: KafkaProducer | None = None
        self._places: Places | None = None
        self._topics: dict[str, Topic] = {}
        self._inboxes: list[Replies] = []
        self._members: list[KafkaSubscription] = []
        self._inbox_count = self._next_inbox = 0

    async def start(self, topics: Sequence[Topic]) -> None:
        quiet_aiokafka()
        self._client_options = self.options.address.options()
        await reach(self.options.address, self._client_options)
        places = Places(self._client_options)
        producer = KafkaProducer(
            self._client_options, self.options.max_message_bytes, self._clock, self._breaker
        )
        try:
            async with answering("make the topics ready", _START_S):
                counts = await prepare_topics(await places.admin(), [*topics, replies.REPLIES], self._rules)
            await producer.start()
            # What time it is there must be known before the first deadline is set, or kept.
            await producer.probe(self._rules.name(replies.REPLIES), 0, _PROBE, _START_S)
        except BaseException:
            await producer.close()
            await places.close()
            raise
        self._places, self._producer = places, producer
        self._topics = {topic.name: topic for topic in (*topics, replies.REPLIES)}
        self._inbox_count = counts[self._rules.name(replies.REPLIES)]
        # Elsewhere another one is begun with; here each has its own.
        self._next_inbox = randrange(self._inbox_count)  # noqa: S311 - spreads, hides nothing

    async def close(self) -> None:
        for member in [*self._members]:
            await member.close()
        for inbox in self._inboxes:
            await inbox.close()
        if self._producer is not None:
            await self._producer.close()
        if self._places is not None:
            await self._places.close()
        self._producer, self._places, self._topics, self._inboxes = None, None, {}, []

    async def publish(
        self, topic: Topic, messages: Sequence[OutgoingMessage], *, synced: bool = True
    ) -> None:
        """Acknowledged by all replicas in sync, `synced` or not."""
        name = self._name(topic)
        if messages:
            await self._open_producer().publish(name, messages)

    async def subscribe(
        self, topic: Topic, group: str, *, on_revoked: OnRevoked | None = None
    ) -> Subscription:
        name, group_id = self._name(topic), self._group_id(topic, group)
        new_consumer = partial(
            new_member,
            self._client_options,
            group_id,
            instance=self.options.instance,
            session_s=self.options.session_s,
            fetch_bytes=_FETCH_BYTES,
        )
        member = KafkaSubscription(
            *(topic.name, name, group_id, new_consumer),
            self._open_places(),
            on_revoked,
            on_close=self._members.remove,
        )
        self._members.append(member)
        try:
            await member.join()
        except BaseException:
            await member.close()
            raise
        return member

    async def lag(self, topic: Topic, group: str) -> Lag:
        name = self._name(topic)
        return await self._open_places().lag(self._group_id(topic, group), name)

    async def open_replies(self) -> Replies:
        name = self._name(replies.REPLIES)
        self._next_inbox = (self._next_inbox + 1) % self._inbox_count
        inbox = replies.KafkaReplies(new_reader(self._client_options, at="latest"), name, self._next_inbox)
        await inbox.open()
        self._inboxes.append(inbox)
        return inbox

    async def reply(self, address: str, company_id: UUID, job_id: UUID) -> None:
        if address.isdecimal():
            hint = replies.pack(company_id, job_id)
            await self._open_producer().hint(self._name(replies.REPLIES), int(address), hint)

    async def clean(self, now: datetime, *, limit: int) -> int:
        """Nothing: Kafka drops messages by itself, by their topic's retention alone."""
        return 0

    async def ping(self) -> None:
        inbox = self._rules.name(replies.REPLIES), randrange(self._inbox_count)  # noqa: S311 - any will do
        async with answering("answer", _PING_S):
            counts = await partition_counts(await self._open_places().admin())
        await self._open_producer().probe(*inbox, _PROBE, _PING_S)
        for topic in self._topics.values():
            if self._rules.name(topic) not in counts:
                raise BrokerUnavailable(
                    f"Kafka topic {self._rules.name(topic)} has partitions without a leader"
                )

    def _name(self, topic: Topic) -> str:
        if topic.name not in self._topics:
            raise BrokerError(f"topic {topic.name} was not declared at the start")
        return self._rules.name(topic)

    def _group_id(self, topic: Topic, group: str) -> str:
        return f"{self.options.prefix}{group}.{topic.name}"

    def _open_producer(self) -> KafkaProducer:
        if self._producer is None:
            raise BrokerError("the broker is not open")
        return self._producer

    def _open_places(self) -> Places:
        if self._places is None:
            raise BrokerError("the broker is not open")
        return self._places
