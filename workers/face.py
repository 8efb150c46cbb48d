"""The face stage: what costs compute. Photos become templates; a search is answered, an enrolment goes on to
be decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np

from infra.broker.port import Delivery
from infra.broker.topics import TEMPLATES
from infra.keys.company import CompanyKey, CompanyKeyGone
from infra.keys.job import JobCipher
from infra.messaging import open_body, sealed_message
from infra.objects.port import ObjectNotFound
from infra.services import Services
from schemas.jobs import JobKind, JobRecord
from schemas.messages import (
    MessageHeader,
    MessageUnreadable,
    PhotoBody,
    SearchFields,
    TemplateBody,
    decode_message,
)
from schemas.problems import ProblemError
from schemas.records import Company
from workers.ending import Finisher, expired, failed, refused
from workers.recognition.analysis import Analysis, PhotoRequest, Refusal
from workers.recognition.compute import Compute
from workers.registrar import face_id_of
from workers.removal import photo_key_of
from workers.searching import Probe, Searcher

_MS: Final = 1000


@dataclass(frozen=True)
class Opened:
    """A job whose photo is at hand."""

    company: Company
    company_id: UUID
    key: CompanyKey
    job: JobRecord
    job_key: bytes
    body: PhotoBody
    photo: bytes
    queue_ms: float

    @property
    def request(self) -> PhotoRequest:
        enrolment = self.job.kind is JobKind.ENROLL
        return PhotoRequest(
            photo=self.photo,
            purpose="enrolment" if enrolment else "probe",
            all_faces=False,
            quality=self.company.policies.quality,
        )


@dataclass(frozen=True)
class FaceStage:
    """Handles the `search` and `enroll` topics, in three steps that a worker can overlap: open, analyse,
    conclude."""

    services: Services
    compute: Compute
    searcher: Searcher
    finisher: Finisher

    async def open(self, delivery: Delivery) -> Opened | None:
        """Bring a job's photo to hand; None when there is nothing left to do for it."""
        services = self.services
        header, _, _ = decode_message(delivery.value)
        company_id = header.company_id
        try:
            key = await services.keys.get(company_id)
        except CompanyKeyGone:
            return None  # The company was deleted, and with it the right and the means to do this.
        job = await services.jobs.get(company_id, header.job_id)
        company = await services.accounts.company(company_id)
        if job is None or job.wrapped_key is None or company is None:
            return None
        now = services.clock.now()
        if job.deadline_at is not None and job.deadline_at <= now:
            await self.finisher.finish(company_id, job, expired(job))
            return None
        job_key = key.unwrap_job_key(job.id, job.wrapped_key)
        body = open_body(delivery.value, job_key, PhotoBody)
        photo = body.photo if body.photo is not None else await self._blob(company_id, job, job_key)
        if photo is None:
            await self.finisher.finish(company_id, job, failed(job))
            return None
        queue_ms = round((now - job.created_at).total_seconds() * _MS, 2)
        return Opened(company, company_id, key, job, job_key, body, photo, queue_ms)

    async def analyse(self, opened: Sequence[Opened]) -> list[Analysis | Refusal]:
        """Detect and embed. Raises ChildFailed when the compute process died of it, or hung."""
        timeout_s = self.services.settings.compute_timeout_s
        return await self.compute.analyse([item.request for item in opened], timeout_s=timeout_s)

    async def conclude(self, opened: Opened, analysis: Analysis | Refusal) -> None:
        """Answer a search, or send an enrolment on; when this returns, what came of it is saved."""
        photo_hash = opened.key.photo_hash(opened.photo)
        if isinstance(analysis, Refusal):
            problem = ProblemError(analysis.code, analysis.detail)
            location = opened.body.search.location if opened.body.search else None
            where = location.model_dump(exclude_none=True) if location else None
            ending = refused(opened.job, problem, photo_hash=photo_hash, location=where)
            await self.finisher.finish(opened.company_id, opened.job, ending)
        elif opened.body.search is not None:
            await self._search(opened, opened.body.search, analysis, photo_hash)
        else:
            await self._send_template(opened, analysis, photo_hash)

    async def _search(
        self, opened: Opened, fields: SearchFields, analysis: Analysis, photo_hash: str
    ) -> None:
        face = analysis.faces[0]
        probe = Probe(
            job=opened.job,
            fields=fields,
            face=face.face,
            template=face.template,
            photo_hash=photo_hash,
            timings_ms=self._timings(opened, analysis),
        )
        ending = await self.searcher.search(opened.company_id, opened.company.policies, probe)
        await self.finisher.finish(opened.company_id, opened.job, ending)

    async def _send_template(self, opened: Opened, analysis: Analysis, photo_hash: str) -> None:
        job, services = opened.job, self.services
        if opened.body.enrolment is None:
            raise MessageUnreadable("a photo without a purpose")
        photo_key = None
        if opened.company.policies.retention.keep_photos:
            photo_key = photo_key_of(face_id_of(job))
            sealed = opened.key.seal_photo(photo_key, opened.photo)
            await services.objects.put(opened.company_id, photo_key, sealed)
        face = analysis.faces[0]
        body = TemplateBody(
            template=np.ascontiguousarray(face.template, dtype="<f4").tobytes(),
            face=face.face,
            enrolment=opened.body.enrolment,
            photo_hash=photo_hash,
            photo_key=photo_key,
            timings_ms=self._timings(opened, analysis),
        )
        header = MessageHeader(
            type=TEMPLATES.name,
            company_id=opened.company_id,
            job_id=UUID(job.id),
            kind=job.kind,
            created_at=job.created_at,
            correlation_id=job.correlation_id,
            reply_to=job.reply_to,
        )
        message = sealed_message(header, body, opened.job_key, key=opened.company_id)
        await services.broker.publish(TEMPLATES, [message], synced=False)

    async def _blob(self, company_id: UUID, job: JobRecord, job_key: bytes) -> bytes | None:
        if job.blob_key is None:
            return None
        try:
            sealed = await self.services.objects.get(company_id, job.blob_key)
        except ObjectNotFound:
            return None
        return JobCipher(job_key, job.blob_key.encode()).open(sealed)

    @staticmethod
    def _timings(opened: Opened, analysis: Analysis) -> dict[str, float]:
        return {"queue": opened.queue_ms, **{name: round(ms, 2) for name, ms in analysis.timings_ms.items()}}
