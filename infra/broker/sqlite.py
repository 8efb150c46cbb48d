"""The broker in the embedded SQLite file: a log with partitions, and group positions.

One process publishes and consumes, so a doorbell that is rung after a commit tells of new messages: nobody
polls.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from infra.broker.inbox import Inboxes
from infra.broker.port import (
    Broker,
    BrokerError,
    Lag,
    OnRevoked,
    OutgoingMessage,
    Replies,
    Subscription,
    Topic,
)
from infra.broker.sqlite_subscription import SqliteSubscription, TopicLog, broker_errors
from infra.clock import Clock, Entropy, system_entropy
from infra.documents.fields import to_microseconds
from infra.sqlite import log
from infra.sqlite.file import SqliteFile


class SqliteBroker(Broker):
    """The log, with at most one member of a group in a topic.

    Once a group has had a member its messages are kept for it, up to their topic's retention.
    """

    def __init__(self, file: SqliteFile, clock: Clock, entropy: Entropy = system_entropy) -> None:
        self._file = file
        self._clock = clock
        self._inboxes = Inboxes(entropy)
        self._logs: dict[str, TopicLog] = {}
        self._members: dict[tuple[str, str], SqliteSubscription] = {}

    async def start(self, topics: Sequence[Topic]) -> None:
        with broker_errors():
            await self._file.open()
            try:
                declared = await self._file.write(
                    lambda connection: log.declare(connection, topics), synced=True
                )
            except BaseException:
                await self._file.close()
                raise
        self._logs = {topic.name: TopicLog(topic, declared[topic.name]) for topic in topics}

    async def close(self) -> None:
        for member in list(self._members.values()):
            await member.close()
        self._inboxes.close()
        self._logs = {}
        await self._file.close()

    async def publish(
        self, topic: Topic, messages: Sequence[OutgoingMessage], *, synced: bool = True
    ) -> None:
        if not messages:
            return
        to = self._log(topic)
        batches: dict[int, list[OutgoingMessage]] = {}
        for message in messages:
            batches.setdefault(to.partition_of(message.key), []).append(message)
        appended_at = to_microseconds(self._clock.now())
        with broker_errors():
            await self._file.write(
                lambda connection: log.append(connection, batches, appended_at),
                synced=synced,
                after_commit=to.extend,
            )

    async def subscribe(
        self, topic: Topic, group: str, *, on_revoked: OnRevoked | None = None
    ) -> Subscription:
        """Nothing is ever revoked. Raises BrokerError when the group has a member."""
        of, member = self._log(topic), (topic.name, group)
        if member in self._members:
            raise BrokerError(f"group {group} has a member in topic {topic.name}")
        subscription = SqliteSubscription(
            self._file, of, group, on_close=lambda: self._members.pop(member, None)
        )
        self._members[member] = subscription
        try:
            await subscription.join()
        except BaseException:
            del self._members[member]
            raise
        return subscription

    async def lag(self, topic: Topic, group: str) -> Lag:
        partition_ids = self._log(topic).partition_ids
        with broker_errors():
            return await self._file.read(lambda connection: log.lag(connection, group, partition_ids))

    async def open_replies(self) -> Replies:
        return self._inboxes.open()

    async def reply(self, address: str, company_id: UUID, job_id: UUID) -> None:
        self._inboxes.put(address, company_id, job_id)

    async def clean(self, now: datetime, *, limit: int) -> int:
        """A group that ever had a member counts; without any, only retention drops messages. Not synced."""
        dropped = 0
        for of in self._logs.values():
            expired_before = to_microseconds(now - timedelta(seconds=of.topic.retention_s))
            operation = partial(
                log.clean,
                partition_ids=of.partition_ids,
                expired_before=expired_before,
                limit=limit - dropped,
            )
            with broker_errors():
                dropped += await self._file.write(operation, synced=False)
        return dropped

    async def ping(self) -> None:
        with broker_errors():
            await self._file.ping()

    def _log(self, topic: Topic) -> TopicLog:
        found = self._logs.get(topic.name)
        if found is None:
            raise BrokerError(f"topic {topic.name} was not declared at the start")
        return found
