"""Starting on a Kafka cluster: who is let in, what is said where not, and what topics become."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from infra.broker.kafka.address import KafkaAddress
from infra.broker.kafka.broker import KafkaBroker, KafkaOptions
from infra.broker.kafka.client import Admin, new_admin, new_topic, settings_of
from infra.broker.kafka.topics import partition_counts
from infra.broker.port import Broker, BrokerError, BrokerUnavailable, OutgoingMessage, Topic
from infra.clock import SystemClock
from infra.refused import StoreRefused
from infra.starting import started
from tests.contract.broker_adapters import EVENTS, JOBS, kafka_options, receive
from tests.servers import kafka as kafka_servers
from tests.servers.certificates import make_certificates
from tests.servers.engine import free_port
from tests.servers.kafka import PASSWORD, USER, KafkaServer

pytestmark = pytest.mark.system


@pytest.fixture
def options(kafka: KafkaServer, tmp_path: Path) -> KafkaOptions:
    return kafka_options(kafka.plain, tmp_path)


def scram(kafka: KafkaServer, **changes: Any) -> KafkaAddress:
    address = KafkaAddress((kafka.scram,), True, kafka.certificates.ca, user=USER, password=PASSWORD)
    return replace(address, **changes)


def mutual(kafka: KafkaServer) -> KafkaAddress:
    files = kafka.certificates
    return KafkaAddress(
        (kafka.mutual,), True, files.ca, cert_file=files.certificate("client"), key_file=files.key("client")
    )


async def start(options: KafkaOptions, address: KafkaAddress | None = None, *topics: Topic) -> None:
    broker = KafkaBroker(replace(options, address=address or options.address))
    try:
        await broker.start(topics or [JOBS])
    finally:
        await broker.close()


@asynccontextmanager
async def opened(options: KafkaOptions, *topics: Topic) -> AsyncGenerator[Broker]:
    broker = KafkaBroker(options)
    await broker.start(topics)
    try:
        yield broker
    finally:
        await broker.close()


@asynccontextmanager
async def administered(options: KafkaOptions) -> AsyncGenerator[Admin]:
    admin = new_admin(options.address.options())
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


# Being let in.


@pytest.mark.parametrize("way", [scram, mutual])
async def test_messages_travel_over_tls_by_password_or_certificate(
    kafka: KafkaServer, options: KafkaOptions, way: Any
) -> None:
    async with opened(replace(options, address=way(kafka)), JOBS) as broker:
        await broker.publish(JOBS, [OutgoingMessage(b"k", b"value")])
        (delivery,) = await receive(await broker.subscribe(JOBS, "g"), 1)
        assert delivery.value == b"value"
        assert (await broker.lag(JOBS, "g")).messages == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong"}, "FACEID_KAFKA_PASSWORD"),
        ({"user": "nobody"}, "FACEID_KAFKA_USER"),
        ({"ca_file": None}, "FACEID_KAFKA_CA_FILE"),
        ({"tls": False, "ca_file": None}, "FACEID_KAFKA_TLS"),
        ({"ca_file": Path("/dev/null")}, "FACEID_KAFKA_CA_FILE"),
    ],
)
async def test_who_is_not_let_in_is_told_which_setting_to_look_at(
    kafka: KafkaServer, options: KafkaOptions, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(StoreRefused, match=said) as raised:
        await start(options, scram(kafka, **change))
    assert PASSWORD not in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_another_authority_is_refused(
    kafka: KafkaServer, options: KafkaOptions, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "other")
    with pytest.raises(StoreRefused, match="not trusted: FACEID_KAFKA_CA_FILE"):
        await start(options, scram(kafka, ca_file=other.ca))


async def test_who_does_not_speak_tls_is_told_of(kafka: KafkaServer, options: KafkaOptions) -> None:
    # It may just hang up, as one does that is starting.
    with pytest.raises((StoreRefused, BrokerUnavailable), match="FACEID_KAFKA_TLS"):
        await start(options, scram(kafka, servers=(kafka.plain,)))


async def test_a_missing_certificate_is_refused_or_named_as_a_reason(
    kafka: KafkaServer, options: KafkaOptions
) -> None:
    with pytest.raises((StoreRefused, BrokerUnavailable), match=r"certificates|FACEID_KAFKA_CERT_FILE"):
        await start(options, replace(mutual(kafka), cert_file=None, key_file=None))


async def test_who_does_not_answer_is_told_apart(options: KafkaOptions) -> None:
    with pytest.raises(BrokerUnavailable, match="is Kafka up, and are FACEID_KAFKA_TLS"):
        await start(options, KafkaAddress((f"127.0.0.1:{free_port()}",)))


async def test_one_server_of_several_will_do(kafka: KafkaServer, options: KafkaOptions) -> None:
    await start(options, KafkaAddress((f"127.0.0.1:{free_port()}", kafka.plain)))


async def test_a_cluster_that_comes_up_later_is_waited_for(tmp_path: Path) -> None:
    with kafka_servers.running(tmp_path / "kafka", up=False) as server:
        broker = KafkaBroker(kafka_options(server.plain, tmp_path))
        with structlog.testing.capture_logs() as lines:
            starting = asyncio.create_task(started("broker", lambda: broker.start([JOBS]), SystemClock()))
            await asyncio.sleep(0)
            await asyncio.to_thread(server.restart)
            await starting
        await broker.publish(JOBS, [OutgoingMessage(b"k", b"v")])
        await broker.close()
    ours = [line["event"] for line in lines if line["event"] != "kafka_client"]
    assert ours in (["waiting_for_store", "store_answers"], [])


# Topics.


async def test_topics_are_made_as_declared(options: KafkaOptions) -> None:
    await start(options, None, EVENTS, JOBS)
    prefix = options.prefix
    async with administered(options) as admin:
        counts = {name: count for name, count in (await partition_counts(admin)).items() if prefix in name}
        assert counts == {f"{prefix}events": 4, f"{prefix}jobs": 1, f"{prefix}replies": 16}
        (response,) = await admin.describe_configs([settings_of(f"{prefix}jobs")])
    entries = response.resources[0][4]
    found = {entry[0]: entry[1] for entry in entries}
    assert found["message.timestamp.type"] == "LogAppendTime"
    assert found["retention.ms"] == "60000"
    assert found["min.insync.replicas"] == "1"
    assert found["cleanup.policy"] == "delete"
    assert int(found["max.message.bytes"]) > options.max_message_bytes


async def test_more_copies_than_servers_are_refused(options: KafkaOptions) -> None:
    with pytest.raises(StoreRefused, match="FACEID_KAFKA_REPLICAS"):
        await start(replace(options, replicas=3))


async def test_a_topic_without_keys_may_have_more_partitions_and_not_fewer(options: KafkaOptions) -> None:
    await start(options, None, replace(JOBS, partitions=3))
    async with opened(options, replace(JOBS, partitions=2)) as broker:
        await broker.publish(JOBS, [OutgoingMessage(b"%d" % number, b"v") for number in range(20)])
        deliveries = await receive(await broker.subscribe(JOBS, "g"), 20)
    assert {delivery.partition for delivery in deliveries} == {0, 1, 2}
    with pytest.raises(StoreRefused, match="has 3 partitions, not 4 or more"):
        await start(options, None, replace(JOBS, partitions=4))


async def test_a_keyed_topic_has_its_number_for_ever(options: KafkaOptions) -> None:
    await start(options, None, EVENTS)
    for count in (3, 5):
        with pytest.raises(StoreRefused, match=f"has 4 partitions, not {count}, which is fixed for ever"):
            await start(options, None, replace(EVENTS, partitions=count))


async def test_settings_that_a_topic_lacks_are_mended_and_the_others_kept(options: KafkaOptions) -> None:
    name = f"{options.prefix}jobs"
    async with administered(options) as admin:
        await admin.create_topics(
            [new_topic(name, 1, 1, {"retention.ms": "1234567", "max.message.bytes": "1000"})], timeout_ms=5000
        )
    await start(options)
    async with administered(options) as admin:
        (response,) = await admin.describe_configs([settings_of(name)])
    found = {entry[0]: entry[1] for entry in response.resources[0][4]}
    assert found["message.timestamp.type"] == "LogAppendTime"
    assert int(found["max.message.bytes"]) > options.max_message_bytes
    assert found["retention.ms"] == "1234567"


async def test_the_largest_message_is_taken_and_a_larger_one_is_our_error(options: KafkaOptions) -> None:
    async with opened(options, JOBS) as broker:
        largest = bytes(options.max_message_bytes - 1024)
        await broker.publish(JOBS, [OutgoingMessage(b"k", largest)])
        with pytest.raises(BrokerError, match="larger than Kafka") as raised:
            await broker.publish(JOBS, [OutgoingMessage(b"k", largest + bytes(2048))])
        assert not isinstance(raised.value, BrokerUnavailable)
        await broker.publish(JOBS, [OutgoingMessage(b"k", b"next")])
        received = await receive(await broker.subscribe(JOBS, "g"), 2)
        assert [len(delivery.value) for delivery in received] == [len(largest), 4]
