"""The face stage: what costs compute. Photos become templates; what is asked of them is answered, and an
enrolment goes on to be decided."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final
from uuid import UUID

from infra.broker.port import Delivery
from infra.keys.company import CompanyKeyGone
from infra.keys.job import JobCipher
from infra.messaging import open_body
from infra.metric_table import STAGE_SECONDS
from infra.objects.port import ObjectNotFound
from infra.repositories.accounts import is_open
from infra.repositories.jobs import Ending
from infra.services import Services
from schemas.jobs import JobRecord
from schemas.messages import MessageUnreadable, PhotoBody, Photos, decode_message
from workers.detecting import detected
from workers.ending import Finisher, expired, failed, refused
from workers.enrolling import Enroller
from workers.opened import Opened
from workers.recognition.analysis import Analysis, Answer, Detection, Refusal
from workers.recognition.compute import Compute
from workers.searching import Searcher
from workers.verifying import Verifier

_MS: Final = 1000

Answers = tuple[Answer, ...]
"""What the model says of a job's photos, in their order."""


@dataclass(frozen=True)
class FaceStage:
    """Handles the `search` and `enroll` topics, in three steps that a worker can overlap: open, analyse,
    conclude."""

    services: Services
    compute: Compute
    finisher: Finisher
    searcher: Searcher
    verifier: Verifier
    enroller: Enroller

    async def open(self, delivery: Delivery) -> Opened | None:
        """Bring a job's photos to hand; None when there is nothing left to do for it."""
        with self.services.metrics.timed(STAGE_SECONDS, "records"):
            opened = await self._open(delivery)
        if opened is not None:
            self.services.metrics.observe(STAGE_SECONDS, opened.queue_ms / _MS, "queue")
        return opened

    async def _open(self, delivery: Delivery) -> Opened | None:
        services = self.services
        header, _, _ = decode_message(delivery.value)
        company_id = header.company_id
        try:
            key = await services.keys.get(company_id)
        except CompanyKeyGone:
            return None  # The company was deleted, and with it the right and the means to do this.
        job, company = await asyncio.gather(
            services.jobs.get(company_id, header.job_id), services.accounts.company(company_id)
        )
        if job is None or job.wrapped_key is None or not is_open(company):
            return None
        now = services.clock.now()
        if job.deadline_at is not None and job.deadline_at <= now:
            await self.finisher.finish(company_id, job, expired(job))
            return None
        job_key = key.unwrap_job_key(job.id, job.wrapped_key)
        body = open_body(delivery.value, job_key, PhotoBody)
        photos = await self._photos(company_id, job, job_key, body)
        if photos is None:
            await self.finisher.finish(company_id, job, failed(job))
            return None
        queue_ms = round(max(0.0, (now - job.created_at).total_seconds()) * _MS, 2)
        return Opened(company, company_id, key, job, job_key, body, photos, queue_ms)

    async def analyse(self, opened: Sequence[Opened]) -> list[Answers]:
        """Detect and embed. Raises ChildFailed when the compute process died of it, or hung."""
        timeout_s = self.services.settings.compute_timeout_s
        requests = [item.requests for item in opened]
        answers = iter(
            await self.compute.analyse(
                [request for of_one in requests for request in of_one], timeout_s=timeout_s
            )
        )
        return [tuple(islice(answers, len(of_one))) for of_one in requests]

    async def conclude(self, opened: Opened, answers: Answers) -> None:
        """Answer the job, or send an enrolment on; when this returns, what came of it is saved."""
        for answer in answers:
            if not isinstance(answer, Refusal):
                for stage, stage_ms in answer.timings_ms.items():
                    self.services.metrics.observe(STAGE_SECONDS, stage_ms / _MS, stage)
        ending = await self._ending(opened, answers)
        if ending is not None:
            retention = opened.policies.retention
            await self.finisher.finish(opened.company_id, opened.job, ending, retention=retention)

    async def _ending(self, opened: Opened, answers: Answers) -> Ending | None:
        for place, answer in enumerate(answers):
            if isinstance(answer, Refusal):
                problem = opened.problem(place, answer.code, answer.detail)
                return refused(opened.job, problem, photo_hash=opened.photo_hash, location=opened.location)
        body = opened.body
        match answers:
            case (Detection() as detection,):
                return detected(opened, detection)
            case (Analysis() as analysis,) if body.search is not None:
                return await self.searcher.search(opened, body.search, analysis)
            case (Analysis() as analysis, *second) if body.verify is not None:
                return await self.verifier.verify(opened, body.verify, analysis, _only(second))
            case (Analysis() as analysis, *second) if body.enrolment is not None:
                return await self.enroller.enrol(opened, body.enrolment, analysis, _only(second))
            case _:
                raise MessageUnreadable("a photo without a purpose")

    async def _photos(
        self, company_id: UUID, job: JobRecord, job_key: bytes, body: PhotoBody
    ) -> Photos | None:
        if body.photo is not None:
            return Photos(photo=body.photo, second=body.second)
        if job.blob_key is None:
            return None
        try:
            sealed = await self.services.objects.get(company_id, job.blob_key)
        except ObjectNotFound:
            return None
        return Photos.unpack(JobCipher(job_key, job.blob_key.encode()).open(sealed))


def _only(answers: Sequence[Answer]) -> Analysis | None:
    """The analysis of a second photo, if there is one."""
    return next((answer for answer in answers if isinstance(answer, Analysis)), None)
