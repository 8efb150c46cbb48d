"""A message that can't be read is never lost from sight: it is listed, and can be handed in again."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from infra.broker.dead_letters import BrokerDeadLetters
from infra.broker.port import Delivery, OutgoingMessage
from infra.broker.topics import DEAD_LETTERS, GROUP, TEMPLATES
from infra.clock import ManualClock, SystemClock
from infra.keys.company import CompanyKeys
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.opening import open_services
from infra.services import Services
from infra.settings import Settings
from infra.vectors.port import Vectors
from schemas.jobs import JobRecord, JobState
from schemas.messages import MessageHeader
from scripts.operations import OPERATIONS, OperationRefused
from tests.calibration import CALIBRATION
from tests.servers.kafka import KafkaServer
from tests.workers.conftest import COLLECTION, MODEL, Workshop, person
from workers.dead_letters import KEPT_FOR, JobDeadLetters
from workers.host import WorkerHost
from workers.roles import Index

GARBAGE = b"\x00what a stranger has written"


class Office:
    """Gives messages up, and does what an operator asks."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.services = services = workshop.services
        topic = BrokerDeadLetters(services.broker, DEAD_LETTERS, services.clock)
        self.dead_letters = JobDeadLetters(services, workshop.finisher, topic)

    async def die(self, value: bytes, offset: int = 7) -> None:
        delivery = replace(self.workshop.delivery(value), partition=3, offset=offset)
        await self.dead_letters.put(delivery, "unreadable_message", 3)

    async def ask(self, name: str, **asked: str) -> Sequence[dict[str, Any]]:
        return await OPERATIONS[name](self.services, asked)

    async def waiting(self) -> list[Delivery]:
        """What the registrar would get now."""
        subscription = await self.services.broker.subscribe(TEMPLATES, GROUP)
        try:
            count = (await self.services.broker.lag(TEMPLATES, GROUP)).messages
            if count == 0:
                return []
            return await subscription.fetch(max_messages=count, max_bytes=2**24, wait_s=5)
        finally:
            await subscription.close()


@pytest.fixture
def office(workshop: Workshop) -> Office:
    return Office(workshop)


async def enrolment_of_version(
    workshop: Workshop, patch: pytest.MonkeyPatch, version: int
) -> tuple[JobRecord, bytes]:
    """An enrolment whose message another version of the program has written."""
    with patch.context() as other:
        other.setattr("schemas.messages.SCHEMA_VERSION", version)
        other.setattr("tests.workers.conftest.MessageHeader", _header_of_version(version))
        job, delivery = await workshop.enrolment("ada", person(1))
    return job, delivery.value


def _header_of_version(version: int) -> Callable[..., Any]:
    return partial(MessageHeader, schema_version=version)


async def test_garbage_is_listed_by_its_place_and_nothing_of_it_is_told(office: Office) -> None:
    for _ in range(2):  # A crash in between does it again.
        await office.die(GARBAGE)
    (row,) = await office.ask("dead_letters")
    assert row["id"] == "templates/3/7"
    assert (row["topic"], row["cause"], row["attempts"]) == ("templates", "unreadable_message", 3)
    assert row["died_at"] == office.services.clock.now().isoformat()
    reason = "not a message of this service"
    assert row["message"] == {"partition": 3, "offset": 7, "bytes": len(GARBAGE), "reason": reason}
    assert await office.ask("dead_letter", id="templates/3/7") == [row]
    assert "stranger" not in json.dumps(row)
    assert await office.ask("dead_letters", cause="poison") == []
    for unknown in ("templates/3/8", "nothing", str(uuid4())):
        with pytest.raises(OperationRefused):
            await office.ask("dead_letter", id=unknown)


async def test_a_replay_hands_it_in_as_it_was_where_it_came_from_once(office: Office) -> None:
    await office.die(GARBAGE)
    await office.die(b"another", offset=8)
    queued = {"id": "templates/3/7", "company_id": None, "job_id": None, "outcome": "queued"}
    assert await office.ask("replay", id="templates/3/7") == [queued]
    (delivery,) = await office.waiting()
    assert (delivery.key, delivery.value) == (office.workshop.company_id.bytes, GARBAGE)
    assert await office.ask("replay", id="templates/3/7") == []
    assert [row["id"] for row in await office.ask("dead_letters")] == ["templates/3/8"]


async def test_what_is_dropped_or_past_its_time_is_listed_no_more(office: Office, clock: ManualClock) -> None:
    for offset in (7, 8):
        await office.die(GARBAGE, offset)
    (dropped,) = await office.ask("drop", id="templates/3/7")
    assert (dropped["id"], dropped["outcome"]) == ("templates/3/7", "dropped")
    assert [row["id"] for row in await office.ask("dead_letters")] == ["templates/3/8"]
    clock.advance(KEPT_FOR.total_seconds())
    assert await office.ask("dead_letters") == []
    assert await office.ask("replay") == []


async def test_a_job_of_an_unknown_version_is_kept_with_its_key_and_done_after_the_upgrade(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, value = await enrolment_of_version(office.workshop, monkeypatch, 2)
    await office.die(value)
    assert (await office.workshop.ended(job)).state is JobState.FAILED, "nobody waits for it"
    (row,) = await office.ask("dead_letters")
    assert (row["id"], row["company_id"]) == (job.id, str(office.workshop.company_id))
    (shown,) = await office.ask("dead_letter", id=job.id)
    assert (shown["kind"], shown["message"]["reason"]) == ("enroll", "schema version 2 is not known")

    monkeypatch.setattr("schemas.messages.SCHEMA_VERSION", 2)
    (outcome,) = await office.ask("replay")
    assert (outcome["job_id"], outcome["outcome"]) == (job.id, "queued")
    await office.workshop.registrar.handle(office.workshop.company_id, await office.waiting())
    assert (await office.workshop.ended(job)).http_status == 201
    assert len(await office.workshop.points()) == 1


async def test_a_deletion_of_an_unknown_version_goes_on_without_its_message(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep sends it again from its record, in a form that is read here."""
    workshop = office.workshop
    user_hash = await office.services.users.hash_of(workshop.company_id, "ada")
    erasure = await office.services.submission.accept_erasure(workshop.submitter, user_hash, 0)
    with monkeypatch.context() as other:
        other.setattr("infra.submission.MessageHeader", _header_of_version(2))
        await office.services.submission.publish_removal(workshop.company_id, erasure, synced=False)
    (delivery,) = await office.waiting()
    await office.die(delivery.value)
    assert (await workshop.ended(erasure)).state is JobState.QUEUED
    assert [row["id"] for row in await office.ask("dead_letters")] == ["templates/3/7"]


async def test_of_a_job_that_has_ended_there_is_nothing_to_look_into(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, value = await enrolment_of_version(office.workshop, monkeypatch, 2)
    with monkeypatch.context() as other:
        other.setattr("schemas.messages.SCHEMA_VERSION", 2)
        await office.workshop.registrar.handle(office.workshop.company_id, [office.workshop.delivery(value)])
    assert (await office.workshop.ended(job)).http_status == 201
    await office.die(value)
    assert await office.ask("dead_letters") == []


# With workers, on each broker.


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.system)])
async def working_services(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Services]:
    broker: dict[str, Any] = {"broker": request.param}
    if request.param == "kafka":
        kafka: KafkaServer = request.getfixturevalue("kafka")
        broker |= {
            "kafka_servers": kafka.plain,
            "kafka_topic_prefix": f"tests-{uuid4().hex}.",
            "kafka_replicas": 1,
        }
    (tmp_path / "keys").mkdir(mode=0o700)
    settings = Settings(
        data_dir=tmp_path / "data",
        master_key_file=tmp_path / "keys" / "master.key",
        key_store=f"file:{tmp_path / 'keys' / 'companies'}",
        **broker,
    )
    master, clock = MasterKey.create(settings.master_key_file), SystemClock()
    await CompanyKeys(master, open_key_store(settings.key_store), clock).initialise()
    async with open_services(settings, MODEL, CALIBRATION, clock) as opened:
        yield opened


async def test_it_goes_round_until_it_is_dropped(working_services: Services, vectors: Vectors) -> None:
    services = working_services

    async def ask(name: str, **asked: str) -> Sequence[dict[str, Any]]:
        return await OPERATIONS[name](services, asked)

    async def worked(until: Callable[[], Awaitable[bool]]) -> None:
        host = WorkerHost(services, ["registrar"], index=Index(vectors, COLLECTION), compute=None)
        await host.prepare()
        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            group.create_task(host.run())
            while not await until():  # noqa: ASYNC110 - what an operator does, too
                await asyncio.sleep(0.02)
            await host.drain(20)

    async def listed() -> bool:
        return len(await ask("dead_letters")) == 2

    company, _ = await services.accounts.register(
        company_name="Example Ltd", email="admin@example.com", password_hash="", model=MODEL
    )
    messages = [OutgoingMessage(b"no company", GARBAGE), OutgoingMessage(UUID(company.id).bytes, b"")]
    await services.broker.publish(TEMPLATES, messages)
    await worked(listed)
    first = await ask("dead_letters")
    assert sorted((row["message"]["bytes"], row["cause"]) for row in first) == [
        (0, "unreadable_message"),
        (len(GARBAGE), "unexpected_error"),
    ]
    assert [row["outcome"] for row in await ask("replay")] == ["queued", "queued"]
    assert await ask("dead_letters") == []
    await worked(listed)
    again = await ask("dead_letters")
    assert {row["id"] for row in again}.isdisjoint(row["id"] for row in first)
    assert [row["outcome"] for row in await ask("drop")] == ["dropped", "dropped"]
    assert await ask("dead_letters") == []
