"""Whoever is erased while jobs that speak of them are at work is in nothing that those jobs leave."""

from dataclasses import dataclass

import pytest

from infra.broker.dead_letters import BrokerDeadLetters
from infra.broker.port import Delivery
from infra.broker.topics import DEAD_LETTERS as DEAD_LETTER_TOPIC
from infra.repositories.collections import AUDIT_EVENTS, DEAD_LETTERS
from infra.repositories.jobs import Ending
from schemas.jobs import JobRecord, JobState, Outcome
from schemas.messages import PhotoBody, Photos, SearchFields, VerifyFields
from tests.workers.conftest import CALIBRATION, ENGINE, FACE, Workshop, person
from workers.dead_letters import JobDeadLetters
from workers.opened import Opened
from workers.recognition.analysis import AnalysedFace, Analysis
from workers.searching import Searcher
from workers.verifying import Verifier


@dataclass(frozen=True)
class Ada:
    """Somebody who is enrolled."""

    workshop: Workshop
    user_hash: str

    async def erase(self) -> None:
        """All of it, as a client who has got a 204 knows."""
        services, company_id = self.workshop.services, self.workshop.company_id
        erasure = await services.submission.accept_erasure(self.workshop.submitter, self.user_hash, 0)
        await services.users.erase(company_id, self.user_hash, 0)
        await self.workshop.registrar.handle(company_id, [await self.workshop.removal(erasure)])
        assert (await self.workshop.ended(erasure)).http_status == 204

    async def seen(self) -> tuple[Opened, Analysis]:
        """A photo of her that was opened and embedded."""
        services, company_id = self.workshop.services, self.workshop.company_id
        job, _ = await self.workshop.enrolment("ada", person(1))
        company = await services.accounts.company(company_id)
        assert company is not None
        opened = Opened(
            company=company,
            company_id=company_id,
            key=await services.keys.get(company_id),
            job=job,
            job_key=b"",
            body=PhotoBody(photo=b"", search=SearchFields()),
            photos=Photos(photo=b""),
            queue_ms=0,
        )
        return opened, Analysis(1, 1, (AnalysedFace(FACE, person(1, variation=9)),), {}, engine=ENGINE)


@pytest.fixture
async def ada(workshop: Workshop) -> Ada:
    _, delivery = await workshop.enrolment("ada", person(1))
    await workshop.registrar.handle(workshop.company_id, [delivery])
    return Ada(workshop, await workshop.services.users.hash_of(workshop.company_id, "ada"))


async def is_without_ada(ada: Ada, job: JobRecord, ending: Ending) -> None:
    """Erase her, and only then end the job that has found her before."""
    jobs, company_id = ada.workshop.services.jobs, ada.workshop.company_id
    assert ada.user_hash in ending.mentions
    await ada.erase()
    await ada.workshop.finisher.finish(company_id, job, ending)
    ended = await ada.workshop.ended(job)
    assert (ended.outcome, ended.result_sealed, ended.events_pending) == (Outcome.MATCHED, None, False)
    assert (await jobs.log_details(company_id, ended)).user_id != "ada"
    assert ada.user_hash not in ended.model_dump_json()
    (event,) = ended.events
    told = await ada.workshop.services.documents.get(AUDIT_EVENTS, company_id, event.id)
    assert told is not None
    assert ada.user_hash not in told.model_dump_json()


async def test_a_search_that_ends_after_the_erasure_names_nobody(ada: Ada) -> None:
    opened, analysis = await ada.seen()
    searcher = Searcher(ada.workshop.services, ada.workshop.gallery, CALIBRATION)
    ending = await searcher.search(opened, SearchFields(), analysis)
    await is_without_ada(ada, opened.job, ending)


async def test_a_verification_that_ends_after_the_erasure_names_nobody(ada: Ada) -> None:
    opened, analysis = await ada.seen()
    verifier = Verifier(ada.workshop.services, CALIBRATION)
    ending = await verifier.verify(opened, VerifyFields(), analysis, None)
    await is_without_ada(ada, opened.job, ending)


def dead_letters(workshop: Workshop) -> JobDeadLetters:
    services = workshop.services
    topic = BrokerDeadLetters(services.broker, DEAD_LETTER_TOPIC, services.clock)
    return JobDeadLetters(services, workshop.finisher, topic)


async def given_up(workshop: Workshop, job: JobRecord, delivery: Delivery) -> tuple[JobRecord, bool]:
    """The job as it ended, and whether its key and photo are kept to look into it."""
    documents, company_id = workshop.services.documents, workshop.company_id
    await dead_letters(workshop).put(delivery, "compute_died", 3)
    letter = await documents.get(DEAD_LETTERS, company_id, job.id)
    blobs = [blob.key async for blob in workshop.services.objects.list(company_id, "inflight/")]
    assert blobs == ([f"inflight/{job.id}"] if letter else [])
    return await workshop.ended(job), letter is not None


@pytest.mark.parametrize("erased", [False, True])
async def test_a_photo_that_is_given_up_after_the_erasure_is_not_kept(ada: Ada, erased: bool) -> None:
    workshop = ada.workshop
    job, delivery = await workshop.enrolment("ada", person(1), photo=bytes(2**20 + 1))
    if erased:
        await ada.erase()
    ended, kept = await given_up(workshop, job, delivery)
    assert (ended.state, kept) == ((JobState.SUPERSEDED, False) if erased else (JobState.FAILED, True))
    assert ended.wrapped_key is None
