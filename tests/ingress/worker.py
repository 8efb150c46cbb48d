"""A worker without a model: it reads the real topics, opens the real messages and ends jobs in the real
records, with whatever answer the test has laid down."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from infra.broker.port import Delivery, Topic
from infra.broker.topics import ENROLL, SEARCH, TEMPLATES
from infra.messaging import open_body
from infra.repositories.access_log import LogEntry
from infra.repositories.jobs import Ending
from infra.services import Services
from schemas.api.people import ConsentAnswer
from schemas.ids import derived_id
from schemas.jobs import JobKind, JobRecord, JobState, LogDetails, Outcome
from schemas.messages import Body, EnrolmentFields, PhotoBody, RegroupingBody, RemovalBody, decode_message
from schemas.policies import RetentionPolicy
from schemas.problems import ProblemError
from schemas.recognition import Box, Face, Landmarks, Point, Quality
from schemas.records import FaceRecord, FaceState
from schemas.results import (
    Candidate,
    DeletionResult,
    DetectResult,
    EnrolResult,
    RegroupingResult,
    SearchResult,
    VerifyResult,
)

ROUTES = {
    JobKind.SEARCH: SEARCH,
    JobKind.VERIFY: SEARCH,
    JobKind.DETECT: SEARCH,
    JobKind.ENROLL: ENROLL,
    JobKind.DELETE_FACE: TEMPLATES,
    JobKind.ERASE_USER: TEMPLATES,
    JobKind.REGROUP_USER: TEMPLATES,
}
"""Where a job of each kind begins."""

BODIES: dict[JobKind, type[Body]] = {
    JobKind.DELETE_FACE: RemovalBody,
    JobKind.ERASE_USER: RemovalBody,
    JobKind.REGROUP_USER: RegroupingBody,
}
"""What its message holds; a photo, of other kinds."""

_POINT = Point(x=1, y=2)
FACE = Face(
    box=Box(x=10, y=20, width=100, height=120),
    landmarks=Landmarks(
        left_eye=_POINT, right_eye=_POINT, nose=_POINT, mouth_left=_POINT, mouth_right=_POINT
    ),
    quality=Quality(
        sharpness=120,
        brightness=130,
        overexposed_share=0,
        yaw_degrees=3,
        roll_degrees=-2,
        face_width_px=100,
    ),
    detection_confidence=0.999,
)


@dataclass
class Worker:
    """Ends what it finds. Set `hold` to leave jobs queued, `refuse_with` to end attempts with a problem, and
    `recognise` to a user id that every search finds."""

    services: Services
    hold: bool = False
    refuse_with: str | None = None
    recognise: str | None = None
    photos: list[bytes] = field(default_factory=list[bytes])
    """The photos that came, each job's second after its first."""
    jobs: list[JobRecord] = field(default_factory=list[JobRecord])
    bodies: list[Body] = field(default_factory=list[Body])
    _came: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator["Worker"]:
        tasks = [asyncio.create_task(self._consume(topic)) for topic in (SEARCH, ENROLL, TEMPLATES)]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, asyncio.CancelledError), outcome

    async def job(self, number: int = 1) -> JobRecord:
        """The job that came as the first, second, … of all, once it is here."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.jobs) >= number)
        return self.jobs[number - 1]

    async def finish(self, company_id: UUID, job: JobRecord, ending: Ending) -> None:
        """The terminal write, and the hint."""
        await self.services.jobs.end(company_id, job, ending, RetentionPolicy())
        if job.reply_to is not None:
            await self.services.broker.reply(job.reply_to, company_id, UUID(job.id))

    async def _consume(self, topic: Topic) -> None:
        subscription = await self.services.broker.subscribe(topic, "workers")
        try:
            while True:
                for delivery in await subscription.fetch(max_messages=10, max_bytes=2**26, wait_s=5):
                    await self._handle(delivery)
                    await subscription.done([delivery])
        finally:
            await subscription.close()

    async def _handle(self, delivery: Delivery) -> None:
        header, _, _ = decode_message(delivery.value)
        services, company_id = self.services, header.company_id
        job = await services.jobs.get(company_id, header.job_id)
        if job is None or job.wrapped_key is None:
            return  # It has ended, or is that of an earlier test on the same servers.
        job_key = (await services.keys.get(company_id)).unwrap_job_key(header.job_id, job.wrapped_key)
        body = open_body(delivery.value, job_key, BODIES.get(job.kind, PhotoBody))
        async with self._came:
            self.jobs.append(job)
            self.bodies.append(body)
            self._came.notify_all()
        if not self.hold:
            await self.finish(company_id, job, await self._ending(company_id, job, body))

    async def _ending(self, company_id: UUID, job: JobRecord, body: Body) -> Ending:
        if isinstance(body, RemovalBody):
            return removed(job)
        if isinstance(body, RegroupingBody):
            return regrouped(job)
        if self.refuse_with is not None:
            return refused(job, self.refuse_with)
        assert isinstance(body, PhotoBody)
        self.photos += [photo for photo in (body.photo or b"", body.second) if photo is not None]
        if body.enrolment is not None:
            return await self._enrolled(company_id, job, body.enrolment)
        if body.search is not None:
            return searched(self.services, job, self.recognise)
        return verified(self.services, job) if body.verify is not None else detected(job)

    async def _enrolled(self, company_id: UUID, job: JobRecord, fields: EnrolmentFields) -> Ending:
        services = self.services
        assert job.subject_user_hash is not None
        user, _ = await services.users.save_enrolment(
            company_id, job.subject_user_hash, job.subject_epoch, fields
        )
        face_id = derived_id(UUID(job.id), "face")
        await services.faces.insert(
            company_id,
            FaceRecord(
                id=str(face_id),
                change=await services.faces.last_change(company_id) + 1,
                state=FaceState.ACTIVE,
                job_id=job.id,
                user_hash=user.id,
                epoch=user.epoch,
                model=services.model,
                template_sealed=b"a template",
                photo_hash="0" * 32,
                box=FACE.box,
                landmarks=FACE.landmarks,
                quality=FACE.quality,
                detection_confidence=FACE.detection_confidence,
                created_at=services.clock.now(),
                enrolled_by=job.submitted_by,
            ),
        )
        person = await services.users.open(company_id, user)
        answer = EnrolResult(
            job_id=UUID(job.id),
            face_id=face_id,
            user_id=person.user_id,
            full_name=person.full_name,
            tags=list(person.tags),
            groups=list(person.groups),
            reference_id=person.reference_id,
            metadata=person.metadata,
            valid_until=person.valid_until,
            consent=ConsentAnswer(**person.consent.model_dump()) if person.consent else None,
            face=FACE,
            quality=FACE.quality,
            model=services.model,
            timings_ms={},
        )
        details = LogDetails(id=job.id, user_id=person.user_id)
        return Ending(
            state=JobState.SUCCEEDED,
            http_status=201,
            answer=answer,
            event_type="face.enrolled",
            log=LogEntry(outcome=Outcome.ENROLLED, details=details, user_hashes=(user.id,)),
            mentions=(user.id,),
        )


def topic_of(kind: JobKind) -> Topic:
    """Where a job of this kind begins."""
    return ROUTES[kind]


def searched(services: Services, job: JobRecord, user_id: str | None) -> Ending:
    """A search that found this user, or nobody."""
    best = user_id and Candidate(
        face_id=derived_id(UUID(job.id), "face"),
        user_id=user_id,
        full_name=None,
        tags=[],
        groups=[],
        reference_id=None,
        metadata={},
        similarity=0.9,
        score=0.9,
        confidence=99.5,
        fmr=1e-6,
        fpir=1e-5,
        extrapolated=True,
        accepted=True,
    )
    answer = SearchResult(
        job_id=UUID(job.id),
        matched=bool(best),
        best=best or None,
        candidates=[best] if best else [],
        face=FACE,
        threshold=85,
        threshold_source="company",
        gallery_size=1,
        model=services.model,
        timings_ms={},
    )
    details = LogDetails(id=job.id, user_id=user_id, nearest_user_id=None if user_id else "nearest")
    return Ending(
        state=JobState.SUCCEEDED,
        http_status=200,
        answer=answer,
        event_type="search.matched",
        log=LogEntry(outcome=Outcome.MATCHED if best else Outcome.NOT_MATCHED, details=details, score=0.9),
    )


def verified(services: Services, job: JobRecord) -> Ending:
    """A verification that found the same person."""
    answer = VerifyResult(
        job_id=UUID(job.id),
        matched=True,
        user_id=None,
        face_id=None,
        similarity=0.9,
        score=0.9,
        confidence=99.5,
        fmr=1e-6,
        fpir=1e-6,
        extrapolated=True,
        threshold=85,
        threshold_source="company",
        comparisons=1,
        face=FACE,
        other_face=FACE,
        model=services.model,
        timings_ms={},
    )
    return Ending(
        state=JobState.SUCCEEDED,
        http_status=200,
        answer=answer,
        event_type="verify.matched",
        log=LogEntry(outcome=Outcome.MATCHED, details=LogDetails(id=job.id), score=0.9),
    )


def detected(job: JobRecord) -> Ending:
    """A detection that found nothing, which is an answer."""
    return Ending(
        state=JobState.SUCCEEDED,
        http_status=200,
        answer=DetectResult(job_id=UUID(job.id), width_px=64, height_px=48, faces=[], timings_ms={}),
        event_type="faces.detected",
    )


def refused(job: JobRecord, code: str, state: JobState = JobState.FAILED) -> Ending:
    """An attempt that ends with a problem."""
    problem = ProblemError(code)
    return Ending(
        state=state,
        http_status=problem.type.status,
        answer=problem.problem(job.correlation_id),
        event_type="search.failed",
        code=code,
        log=LogEntry(outcome=Outcome.REFUSED, details=LogDetails(id=job.id)),
    )


def removed(job: JobRecord) -> Ending:
    """A removal that was carried out."""
    return Ending(
        state=JobState.SUCCEEDED,
        http_status=204,
        answer=DeletionResult(job_id=UUID(job.id), faces_deleted=1),
        event_type="face.deleted",
    )


def regrouped(job: JobRecord) -> Ending:
    """A change of groups that the index has followed."""
    return Ending(
        state=JobState.SUCCEEDED,
        http_status=200,
        answer=RegroupingResult(job_id=UUID(job.id), faces_updated=1),
        event_type="user.regrouped",
    )
