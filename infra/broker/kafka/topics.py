"""Topics on Kafka: made where they are missing, and held to what their declarations promise."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.broker.kafka.client import Admin, error_name, new_topic, settings_of
from infra.broker.port import BrokerUnavailable, Topic
from infra.refused import StoreRefused

_EXISTS: Final = 36
_TOO_FEW_SERVERS: Final = 38
_FORBIDDEN: Final = (29, 31)
_SET_ON_TOPIC: Final = 1
_ASK_MS: Final = 10_000
_LOOK_AGAIN_S: Final = 0.05
# Kafka counts the frame of a batch, too.
_BATCH_OVERHEAD_BYTES: Final = 1024


@dataclass(frozen=True)
class TopicRules:
    """What all of our topics have in common."""

    prefix: str
    replicas: int
    max_message_bytes: int

    @property
    def min_in_sync(self) -> int:
        """How many replicas must have a message before it counts as published: one may be down."""
        return max(self.replicas - 1, 1)

    @property
    def _max_batch_bytes(self) -> int:
        return self.max_message_bytes + _BATCH_OVERHEAD_BYTES

    def name(self, topic: Topic) -> str:
        return self.prefix + topic.name

    def required(self) -> dict[str, str]:
        """Settings that we can't do without."""
        return {
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(self._max_batch_bytes),
        }

    def lacks(self, settings: Mapping[str, str]) -> dict[str, str]:
        """What a topic with these settings needs set."""
        needed = self.required()
        if int(settings.get("max.message.bytes", "0")) >= self._max_batch_bytes:
            del needed["max.message.bytes"]
        return {name: value for name, value in needed.items() if settings.get(name) != value}

    def initial(self, topic: Topic) -> dict[str, str]:
        """Settings of a new topic; some of them are the operator's from then on."""
        return {
            **self.required(),
            "cleanup.policy": "delete",
            "retention.ms": str(topic.retention_s * 1000),
            "min.insync.replicas": str(self.min_in_sync),
        }


async def prepare_topics(admin: Admin, topics: Sequence[Topic], rules: TopicRules) -> dict[str, int]:
    """Make what is missing, check what is there. Answers how many partitions each has, by Kafka's name.

    Raises StoreRefused for what only an operator can mend.
    """
    known = await partition_counts(admin)
    missing = [topic for topic in topics if rules.name(topic) not in known]
    made = await _create(admin, missing, rules) if missing else set[str]()
    names = [rules.name(topic) for topic in topics]
    while any(name not in known for name in names):
        await asyncio.sleep(_LOOK_AGAIN_S)
        known = await partition_counts(admin)
    for topic in topics:
        _check_partitions(topic, rules.name(topic), known[rules.name(topic)])
    await _mend(admin, [name for name in names if name not in made], rules)
    return {name: known[name] for name in names}


async def partition_counts(admin: Admin) -> dict[str, int]:
    """The topics all of whose partitions have a leader. All are asked for: a topic that is asked for by its
    name may be made by that."""
    return {
        str(topic["topic"]): len(topic["partitions"])
        for topic in await admin.describe_topics()
        if not topic["error_code"] and all(part["leader"] >= 0 for part in topic["partitions"])
    }


def _check_partitions(topic: Topic, name: str, found: int) -> None:
    if topic.keyed and found != topic.partitions:
        # A key's messages would go to another partition while older ones wait in the first.
        raise StoreRefused(
            f"Kafka topic {name} has {found} partitions, not {topic.partitions}, which is fixed for ever"
        )
    if found < topic.partitions:
        raise StoreRefused(
            f"Kafka topic {name} has {found} partitions, not {topic.partitions} or more: add partitions to it"
        )


async def _create(admin: Admin, topics: Sequence[Topic], rules: TopicRules) -> set[str]:
    """The names of those that were made: others may have been faster."""
    response = await admin.create_topics(
        [
            new_topic(rules.name(topic), topic.partitions, rules.replicas, rules.initial(topic))
            for topic in topics
        ],
        timeout_ms=_ASK_MS,
    )
    errors: list[tuple[Any, ...]] = response.topic_errors
    for name, code, *_ in errors:
        if code == _TOO_FEW_SERVERS:
            raise StoreRefused(
                f"Kafka has too few servers to keep {rules.replicas} copies of topic {name}: "
                "FACEID_KAFKA_REPLICAS"
            )
        if code in _FORBIDDEN:
            raise StoreRefused(f"Kafka does not let us create topic {name}: create it, or let us do so")
        if code not in (0, _EXISTS):
            raise BrokerUnavailable(f"Kafka did not create topic {name}: {error_name(code)}")
    return {name for name, code, *_ in errors if code == 0}


async def _mend(admin: Admin, names: Sequence[str], rules: TopicRules) -> None:
    """Set what existing topics lack, and wait until it holds."""
    lacking = await _lacking(admin, names, rules)
    if lacking:
        for response in await admin.alter_configs([settings_of(*topic) for topic in lacking.items()]):
            for code, _message, _kind, name, *_ in response.resources:
                if code:
                    needed = ", ".join(f"{key}={value}" for key, value in rules.required().items())
                    raise StoreRefused(f"Kafka topic {name} needs {needed}, and we may not set that")
    while await _lacking(admin, list(lacking), rules):  # noqa: ASYNC110 - Kafka tells nobody when it holds
        await asyncio.sleep(_LOOK_AGAIN_S)


async def _lacking(admin: Admin, names: Sequence[str], rules: TopicRules) -> dict[str, dict[str, str]]:
    """The topics that lack something, and all the settings that they should have of their own: those that are
    not sent again are lost."""
    lacking: dict[str, dict[str, str]] = {}
    if not names:
        return lacking
    for response in await admin.describe_configs([settings_of(name) for name in names]):
        for _code, _message, _kind, name, entries in response.resources:
            lacks = rules.lacks({entry[0]: entry[1] for entry in entries})
            if lacks:
                own = {entry[0]: entry[1] for entry in entries if entry[3] == _SET_ON_TOPIC}
                lacking[name] = own | lacks
    return lacking
