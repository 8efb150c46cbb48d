"""Accepting a job: first its record, then its message, under a key of its own."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from infra.broker.port import Broker, Topic
from infra.broker.topics import ENROLL, SEARCH, TEMPLATES
from infra.clock import Clock
from infra.documents.port import AlreadyExists
from infra.keys.company import CompanyKeys
from infra.keys.job import JobCipher, new_job_key
from infra.messaging import sealed_message
from infra.objects.port import Objects
from infra.repositories.jobs import Jobs
from infra.tracing import Tracing
from schemas.ids import Entropy, new_id
from schemas.jobs import JobKind, JobRecord, JobState
from schemas.messages import (
    Body,
    EnrolmentFields,
    MessageHeader,
    PhotoBody,
    Photos,
    RegroupingBody,
    RemovalBody,
    SearchFields,
    VerifyFields,
)
from schemas.results import Location


@dataclass(frozen=True)
class Submitter:
    """Who asks, and under which correlation id; `reply_to` is the inbox that wants to hear of the end.

    `job_id` is set where the job's id was promised before: submitting again under it makes no second job.
    """

    company_id: UUID
    credential: str
    correlation_id: str
    reply_to: str | None
    job_id: UUID | None = None


@dataclass(frozen=True)
class Subject:
    """The user whom a job is about, as of when it was accepted: an erasure after that voids it."""

    user_hash: str
    epoch: int

    def fields(self) -> dict[str, object]:
        """As the job's record has them."""
        return {
            "subject_user_hash": self.user_hash,
            "subject_epoch": self.epoch,
            "mentions": (self.user_hash,),
        }


@dataclass(frozen=True)
class Submission:
    """Turns requests into jobs. A job that this has accepted is done, or ends with a reason.

    `synced=False` is for a caller who waits for the result: the terminal write, which is synced, then makes
    the whole of it safe. Whoever answers 202 must have it synced.

    A submission that broke off is made again under the same id (`Submitter.job_id`): the record that is there
    is kept, with its key, and its message is sent once more; a job that has ended meanwhile is answered as it
    is. Workers do what comes twice once.
    """

    jobs: Jobs
    broker: Broker
    objects: Objects
    keys: CompanyKeys
    clock: Clock
    entropy: Entropy
    max_inline_bytes: int
    tracing: Tracing

    async def search(
        self, by: Submitter, photo: bytes, fields: SearchFields, *, deadline_at: datetime, synced: bool
    ) -> JobRecord:
        body = PhotoBody(photo=photo, search=fields)
        return await self._photo_job(by, JobKind.SEARCH, SEARCH, body, deadline_at, synced=synced)

    async def detect(self, by: Submitter, photo: bytes, *, deadline_at: datetime, synced: bool) -> JobRecord:
        body = PhotoBody(photo=photo)
        return await self._photo_job(by, JobKind.DETECT, SEARCH, body, deadline_at, synced=synced)

    async def verify(
        self,
        by: Submitter,
        photo: bytes,
        fields: VerifyFields,
        *,
        against: Subject | bytes,
        deadline_at: datetime,
        synced: bool,
    ) -> JobRecord:
        """Compare the photo's face with a user's faces, or with that of a second photo."""
        subject = against if isinstance(against, Subject) else None
        second = against if isinstance(against, bytes) else None
        body = PhotoBody(photo=photo, second=second, verify=fields)
        return await self._photo_job(by, JobKind.VERIFY, SEARCH, body, deadline_at, subject, synced=synced)

    async def enroll(
        self,
        by: Submitter,
        photo: bytes,
        fields: EnrolmentFields,
        *,
        user_hash: str,
        user_epoch: int,
        synced: bool,
        reference: bytes | None = None,
    ) -> JobRecord:
        """Put the photo's face into the gallery, if it is that of the `reference` photo where there is
        one."""
        body = PhotoBody(photo=photo, second=reference, enrolment=fields)
        subject = Subject(user_hash, user_epoch)
        return await self._photo_job(by, JobKind.ENROLL, ENROLL, body, None, subject, synced=synced)

    async def accept_face_deletion(self, by: Submitter, face_id: UUID) -> JobRecord:
        """Record the deletion. The caller then changes the face's record and calls `publish_removal`."""
        return await self._small_job(by, JobKind.DELETE_FACE, subject_face_id=str(face_id))

    async def accept_erasure(self, by: Submitter, user_hash: str, user_epoch: int) -> JobRecord:
        """Record a person's erasure. The caller then erases the user's record and calls `publish_removal`."""
        return await self._small_job(by, JobKind.ERASE_USER, **Subject(user_hash, user_epoch).fields())

    async def accept_regrouping(self, by: Submitter, user_hash: str, user_epoch: int) -> JobRecord:
        """Record that a user's groups change. The caller then changes the user's record and calls
        `publish_regrouping`."""
        return await self._small_job(by, JobKind.REGROUP_USER, **Subject(user_hash, user_epoch).fields())

    async def publish_regrouping(self, company_id: UUID, job: JobRecord, *, synced: bool) -> None:
        """Have the index follow the user's groups, from the job's record alone; sending it again is
        harmless."""
        if job.wrapped_key is None or job.subject_user_hash is None:
            return
        job_key = (await self.keys.get(company_id)).unwrap_job_key(UUID(job.id), job.wrapped_key)
        body = RegroupingBody(user_hash=job.subject_user_hash)
        await self._publish(TEMPLATES, company_id, job, body, job_key, key=company_id, synced=synced)

    async def publish_removal(self, company_id: UUID, job: JobRecord, *, synced: bool) -> None:
        """Send a removal on its way, from its record alone; sending it again is harmless."""
        if job.wrapped_key is None:
            return
        job_key = (await self.keys.get(company_id)).unwrap_job_key(UUID(job.id), job.wrapped_key)
        body = RemovalBody(face_id=job.subject_face_id, user_hash=job.subject_user_hash)
        await self._publish(TEMPLATES, company_id, job, body, job_key, key=company_id, synced=synced)

    async def _small_job(self, by: Submitter, kind: JobKind, **subject: object) -> JobRecord:
        job, _ = await self._new_job(by, kind, None, **subject)
        return await self._accept(by.company_id, job)

    async def _accept(self, company_id: UUID, job: JobRecord, location: Location | None = None) -> JobRecord:
        """Write the job's record; answers the one that counts, which may have been there before."""
        try:
            await self.jobs.accept(company_id, job, synced=False, location=location)
        except AlreadyExists:
            earlier = await self.jobs.get(company_id, UUID(job.id))
            if earlier is None:
                raise
            return earlier
        return job

    async def _photo_job(
        self,
        by: Submitter,
        kind: JobKind,
        topic: Topic,
        body: PhotoBody,
        deadline_at: datetime | None,
        subject: Subject | None = None,
        *,
        synced: bool,
    ) -> JobRecord:
        job, job_key = await self._new_job(by, kind, deadline_at, **(subject.fields() if subject else {}))
        photos = Photos(photo=body.photo or b"", second=body.second)
        if len(photos.photo) + len(photos.second or b"") > self.max_inline_bytes:
            job = job.model_copy(update={"blob_key": f"inflight/{job.id}"})
        # The record first: a blob or a message without a record is swept away, a record without them is
        # ended.
        asked = body.search or body.verify
        accepted = await self._accept(by.company_id, job, asked.location if asked else None)
        if accepted is not job:
            if accepted.wrapped_key is None:
                return accepted  # It has ended.
            job = accepted
            job_key = (await self.keys.get(by.company_id)).unwrap_job_key(job.id, accepted.wrapped_key)
        if job.blob_key is not None:
            body = body.model_copy(update={"photo": None, "second": None})
            cipher = JobCipher(job_key, job.blob_key.encode())
            sealed = await asyncio.to_thread(lambda: cipher.seal(photos.pack()))  # 4 ms for 10 MiB
            await self.objects.put(by.company_id, job.blob_key, sealed)
        await self._publish(topic, by.company_id, job, body, job_key, key=UUID(job.id), synced=synced)
        return job

    async def _new_job(
        self, by: Submitter, kind: JobKind, deadline_at: datetime | None, **subject: object
    ) -> tuple[JobRecord, bytes]:
        now = self.clock.now()
        job_id = by.job_id or new_id(now, self.entropy)
        job_key = new_job_key(self.entropy)
        company_key = await self.keys.get(by.company_id)
        job = JobRecord.model_validate(
            {
                "id": str(job_id),
                "kind": kind,
                "state": JobState.QUEUED,
                "created_at": now,
                "deadline_at": deadline_at,
                "submitted_by": by.credential,
                "correlation_id": by.correlation_id,
                "reply_to": by.reply_to,
                "wrapped_key": company_key.wrap_job_key(job_id, job_key),
                **subject,
            }
        )
        return job, job_key

    async def _publish(
        self,
        topic: Topic,
        company_id: UUID,
        job: JobRecord,
        body: Body,
        job_key: bytes,
        *,
        key: UUID,
        synced: bool,
    ) -> None:
        header = MessageHeader(
            type=topic.name,
            company_id=company_id,
            job_id=UUID(job.id),
            kind=job.kind,
            created_at=job.created_at,
            correlation_id=job.correlation_id,
            reply_to=job.reply_to,
            traceparent=self.tracing.current(),
        )
        await self.broker.publish(topic, [sealed_message(header, body, job_key, key=key)], synced=synced)
