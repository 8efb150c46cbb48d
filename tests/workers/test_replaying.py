"""A job that was given up can be tried again, once, whatever breaks off and whoever comes in between."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from infra.broker.dead_letters import BrokerDeadLetters
from infra.broker.port import BrokerUnavailable, Delivery
from infra.broker.topics import DEAD_LETTERS as DEAD_LETTER_TOPIC
from infra.broker.topics import ENROLL, GROUP, TEMPLATES
from infra.clock import ManualClock
from infra.repositories.access_log import LogFilter
from infra.repositories.letters import Letters
from schemas.jobs import JobRecord, JobState, Outcome
from tests.workers.conftest import Workshop, person
from workers.dead_letters import KEPT_FOR, JobDeadLetters
from workers.ending import Finisher
from workers.replaying import Key, ReplayDesk, Replayed
from workers.sweeping import SKEW, Sweeper


class Deceased:
    """An enrolment that was given up, and those who have to do with it."""

    def __init__(self, workshop: Workshop, job: JobRecord, delivery: Delivery) -> None:
        self.workshop = workshop
        self.job = job
        self.delivery = delivery
        services = workshop.services
        self.desk = ReplayDesk(services, workshop.finisher.relay)
        topic = BrokerDeadLetters(services.broker, DEAD_LETTER_TOPIC, services.clock)
        self.dead_letters = JobDeadLetters(services, workshop.finisher, topic)
        self.key: Key = (workshop.company_id, job.id)

    async def die(self, cause: str = "compute_died") -> None:
        await self.dead_letters.put(self.delivery, cause, 3)

    async def replay(self) -> Replayed:
        """As somebody who looks first."""
        letters = await self.desk.find(job_id=UUID(self.job.id), cause=None)
        return (await self.desk.replay(letters))[self.key]

    async def letters(self) -> int:
        return len(await self.desk.find(job_id=None, cause=None))

    async def record(self) -> JobRecord:
        return await self.workshop.ended(self.job)

    async def work(self) -> int:
        """Handle what is on the topic, as the registrar's worker does; answers how many messages that was."""
        subscription = await self.workshop.services.broker.subscribe(TEMPLATES, GROUP)
        try:
            waiting = (await self.workshop.services.broker.lag(TEMPLATES, GROUP)).messages
            if waiting == 0:
                return 0
            messages = await subscription.fetch(max_messages=10, max_bytes=2**24, wait_s=5)
            await self.workshop.registrar.handle(self.workshop.company_id, messages)
            await subscription.done(messages)
            return len(messages)
        finally:
            await subscription.close()

    async def blobs(self) -> list[str]:
        objects = self.workshop.services.objects
        return [blob.key async for blob in objects.list(self.workshop.company_id, "inflight/")]

    async def entries(self) -> list[tuple[str, Outcome | None]]:
        """What the access log has."""
        page = await self.workshop.services.access_log.find(
            self.workshop.company_id, LogFilter(), after=None, limit=10
        )
        return [(entry.id, entry.outcome) for entry in page.items]


@pytest.fixture
async def deceased(workshop: Workshop) -> Deceased:
    """Its photo is so large that it is a blob."""
    job, delivery = await workshop.enrolment("ada", person(1), photo=bytes(2**20 + 1))
    deceased = Deceased(workshop, job, delivery)
    await deceased.die()
    return deceased


async def test_a_replayed_job_ends_as_if_nothing_had_been(deceased: Deceased) -> None:
    failed = await deceased.record()
    assert (failed.state, failed.code, failed.wrapped_key) == (JobState.FAILED, "job_failed", None)
    assert await deceased.entries() == [(failed.id, Outcome.FAILED)]

    assert await deceased.replay() is Replayed.QUEUED
    queued = await deceased.record()
    assert (queued.state, queued.code, queued.result_sealed) == (JobState.QUEUED, None, None)
    assert queued.wrapped_key == deceased.job.wrapped_key
    assert await deceased.entries() == [], "the attempt is not over"
    assert await deceased.letters() == 0

    assert await deceased.work() == 1
    ended = await deceased.record()
    assert (ended.state, ended.http_status, ended.wrapped_key) == (JobState.SUCCEEDED, 201, None)
    assert await deceased.entries() == [(ended.id, Outcome.ENROLLED)], "one attempt, one entry"
    assert len(await deceased.workshop.points()) == 1
    assert await deceased.blobs() == []


async def test_letters_are_found_by_job_and_by_cause(deceased: Deceased) -> None:
    job, delivery = await deceased.workshop.enrolment("eve", person(2))
    other = Deceased(deceased.workshop, job, delivery)
    await other.die("compute_hung")
    desk = deceased.desk
    assert set(await desk.find(job_id=None, cause=None)) == {deceased.key, other.key}
    assert set(await desk.find(job_id=None, cause="compute_hung")) == {other.key}
    assert set(await desk.find(job_id=UUID(deceased.job.id), cause=None)) == {deceased.key}
    letters = await desk.find(job_id=None, cause="compute_hung")
    found = await desk.message(other.key, letters[other.key])
    assert found is not None
    assert found.value == delivery.value
    done = await desk.replay(await desk.find(job_id=None, cause=None))
    assert done == {deceased.key: Replayed.QUEUED, other.key: Replayed.QUEUED}


async def test_of_two_who_replay_at_once_one_wins(deceased: Deceased) -> None:
    letters = await deceased.desk.find(job_id=None, cause=None)
    assert await deceased.desk.replay(letters) == {deceased.key: Replayed.QUEUED}
    assert await deceased.desk.replay(letters) == {deceased.key: Replayed.OVERTAKEN}
    assert await deceased.work() == 1


async def test_only_one_takes_the_job_back(deceased: Deceased) -> None:
    """Both have read the same record."""
    services, failed = deceased.workshop.services, await deceased.record()
    letters = Letters(services.documents, services.clock)
    letter = await letters.get(*deceased.key)
    assert letter is not None
    company_id = deceased.workshop.company_id
    tries = [letters.requeue(company_id, failed, letter, deadline_at=None) for _ in range(5)]
    assert sorted(await asyncio.gather(*tries)) == [False] * 4 + [True]


@pytest.mark.parametrize("step", ["requeue", "publish", "empty"])
async def test_a_replay_that_breaks_off_is_done_again(
    deceased: Deceased, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before or after each of its steps; nothing is lost, and the job is done once."""
    of = type(deceased.workshop.services.broker) if step == "publish" else Letters
    for after in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(of, step, broken(of, step, after=after))
            if await deceased.letters():
                with pytest.raises(BrokerUnavailable):
                    await deceased.replay()
    outcome = await deceased.replay() if await deceased.letters() else Replayed.QUEUED
    assert outcome in {Replayed.QUEUED, Replayed.ENDED}
    while await deceased.work():
        pass
    assert (await deceased.record()).http_status == 201
    assert len(await deceased.workshop.points()) == 1
    assert await deceased.letters() == 0


def broken(of: type, step: str, *, after: bool) -> Callable[..., Any]:
    """The step, cut off before or after it has happened."""
    real = getattr(of, step)

    async def cut_off(*args: Any, **options: Any) -> None:
        if after:
            await real(*args, **options)
        raise BrokerUnavailable("gone")

    return cut_off


async def test_what_dies_again_is_a_letter_again(deceased: Deceased) -> None:
    assert await deceased.replay() is Replayed.QUEUED
    await deceased.die("compute_hung")
    assert (await deceased.record()).state is JobState.FAILED
    letters = await deceased.desk.find(job_id=None, cause="compute_hung")
    assert list(letters) == [deceased.key]
    assert await deceased.blobs() == [f"inflight/{deceased.job.id}"]
    assert await deceased.replay() is Replayed.QUEUED
    assert await deceased.work() == 2, "both messages are there, and one of them counts"
    assert (await deceased.record()).http_status == 201


async def test_a_job_that_is_just_being_given_up_is_left_alone(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, delivery = await workshop.enrolment("ada", person(1))
    deceased = Deceased(workshop, job, delivery)
    with monkeypatch.context() as patch:
        patch.setattr(Finisher, "finish", broken(Finisher, "finish", after=False))
        with pytest.raises(BrokerUnavailable):
            await deceased.die()
    assert await deceased.replay() is Replayed.OVERTAKEN
    await deceased.die()
    assert await deceased.replay() is Replayed.QUEUED


async def test_whoever_was_erased_meanwhile_is_not_enrolled(deceased: Deceased) -> None:
    """Before the replay the erasure has taken the letter; after it, it voids the job."""
    workshop, services = deceased.workshop, deceased.workshop.services
    company_id = workshop.company_id
    first, first_delivery = await workshop.enrolment("eve", person(2))
    await workshop.registrar.handle(company_id, [first_delivery])
    user_hash = await services.users.hash_of(company_id, "eve")
    again, delivery = await workshop.enrolment("eve", person(2, variation=1))
    eve = Deceased(workshop, again, delivery)
    await eve.die()
    letters = await eve.desk.find(job_id=UUID(again.id), cause=None)

    erasure = await services.submission.accept_erasure(workshop.submitter, user_hash, 0)
    await services.users.erase(company_id, user_hash, 0)
    # The replay has read the letter before the erasure comes to it.
    letter = letters[eve.key]
    failed = await eve.record()
    assert await eve.desk.letters.requeue(company_id, failed, letter, deadline_at=None)
    await workshop.registrar.handle(company_id, [await workshop.removal(erasure)])
    await workshop.registrar.handle(company_id, [delivery])
    ended = await eve.record()
    assert (ended.state, ended.wrapped_key) == (JobState.SUPERSEDED, None)
    assert (await workshop.ended(first)).result_sealed is None
    assert await eve.desk.find(job_id=UUID(again.id), cause=None) == {}


async def test_a_dropped_letter_is_gone_with_its_photo(deceased: Deceased) -> None:
    letters = await deceased.desk.find(job_id=None, cause=None)
    assert await deceased.desk.drop(letters) == [deceased.key]
    assert (await deceased.letters(), await deceased.blobs()) == (0, [])
    assert await deceased.desk.replay(letters) == {deceased.key: Replayed.OVERTAKEN}
    assert await deceased.desk.drop(letters) == []
    assert (await deceased.record()).state is JobState.FAILED


async def test_a_letter_past_its_time_is_none(deceased: Deceased, clock: ManualClock) -> None:
    letters = await deceased.desk.find(job_id=None, cause=None)
    clock.advance(KEPT_FOR.total_seconds())
    assert await deceased.letters() == 0
    assert await deceased.desk.replay(letters) == {deceased.key: Replayed.OVERTAKEN}
    # The topic has let go of its message sooner: then, too, it can't be done.
    later = {key: letter.model_copy(update={"topic": "search"}) for key, letter in letters.items()}
    assert await deceased.desk.replay(later) == {deceased.key: Replayed.GONE}


async def test_the_sweep_gives_a_replayed_job_its_time(deceased: Deceased, clock: ManualClock) -> None:
    """Although the topic was consumed past its acceptance long ago."""
    sweeper = Sweeper(deceased.workshop.services, deceased.workshop.finisher)
    embedded = await deceased.workshop.services.broker.subscribe(ENROLL, GROUP)
    await embedded.done(await embedded.fetch(max_messages=10, max_bytes=2**24, wait_s=5))
    await embedded.close()
    clock.advance(timedelta(hours=1).total_seconds())
    letters = await deceased.desk.find(job_id=None, cause=None)
    assert await deceased.desk.letters.requeue(
        deceased.workshop.company_id, await deceased.record(), letters[deceased.key], deadline_at=None
    )
    assert await sweeper.end_lost_jobs() == 0
    clock.advance(2 * SKEW.total_seconds() + 1)
    assert await sweeper.end_lost_jobs() == 1
    assert (await deceased.record()).state is JobState.FAILED
    assert await deceased.blobs(), "the letter still stands"
    assert await deceased.replay() is Replayed.QUEUED
    assert await deceased.work() == 1
    assert (await deceased.record()).http_status == 201
