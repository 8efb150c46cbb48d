"""The registrar: decides about a company's enrolments and removals, one after another.

A decision is one insert of the face's record under the company's next change number. Who is overtaken reads
again and decides again, so two registrars need neither a lock nor a clock. What is decided is in
`workers.duplicates`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import structlog

from infra.broker.port import Delivery
from infra.keys.company import CompanyKey
from infra.messaging import open_body
from infra.objects.port import ObjectsError
from infra.repositories.accounts import is_open
from infra.repositories.faces import AlreadyDecided, Overtaken
from infra.repositories.jobs import Ending
from infra.repositories.users import EpochMoved, OutOfReach
from infra.services import Services
from infra.telemetry import log_context
from infra.vectors.port import Template
from schemas.calibration import Calibration
from schemas.ids import derived_id
from schemas.jobs import JobKind, JobRecord, JobState
from schemas.messages import RegroupingBody, RemovalBody, TemplateBody, decode_message
from schemas.policies import CompanyPolicies, RetentionPolicy
from schemas.problems import ProblemError
from schemas.recognition import Engine
from schemas.records import Company, FaceRecord, FaceState
from workers.duplicates import OtherUser, OwnFace, Verdict, judge
from workers.ending import Finisher, superseded
from workers.enrolment import bar, enrolled, not_enrolled
from workers.gallery import Gallery, NearestUser
from workers.indexing import Indexer, open_template
from workers.regrouping import Regrouper
from workers.removal import Remover, photo_key_of, reference_key_of

_log = structlog.get_logger(__name__)

# The nearest may be the user's own faces; one other user is enough for a verdict.
_USERS_COMPARED = 2


def face_id_of(job: JobRecord) -> UUID:
    """The id of the face that an enrolment makes, the same in every run of the job."""
    return derived_id(UUID(job.id), "face")


@dataclass
class _Enrolment:
    """One enrolment on its way through a batch."""

    job: JobRecord
    body: TemplateBody
    template: Template
    engine: Engine | None
    """What computed the template."""
    ending: Ending | None = None
    photo_kept_as: str | None = None
    """The id of the face whose photo is kept: an older one's if it is the same photo again."""

    @property
    def face_id(self) -> UUID:
        return face_id_of(self.job)

    @property
    def user_hash(self) -> str:
        return self.job.subject_user_hash or ""


@dataclass
class _Run:
    """What is known while enrolments of one company are decided: `fresh` are those that the index does not
    have yet."""

    company_id: UUID
    key: CompanyKey
    policies: CompanyPolicies
    edition: str
    """The making of the index that has everything up to `change`."""
    change: int
    faces: int
    fresh: list[_Enrolment] = field(default_factory=list["_Enrolment"])


class Registrar:
    """Handles the `templates` topic, whose messages are keyed by company."""

    def __init__(
        self,
        services: Services,
        indexer: Indexer,
        gallery: Gallery,
        finisher: Finisher,
        remover: Remover,
        calibration: Calibration,
    ) -> None:
        self._services = services
        self._indexer = indexer
        self._gallery = gallery
        self._finisher = finisher
        self._remover = remover
        self._calibration = calibration
        self._regrouper = Regrouper(services, indexer, gallery, finisher)

    async def handle(self, company_id: UUID, deliveries: Sequence[Delivery]) -> None:
        """Decide about messages of one company, in order; when this returns, what came of them is saved.

        Raises CompanyKeyGone for a company that was deleted, and the errors of stores that do not answer:
        then all of it may be handled again.
        """
        key = await self._services.keys.get(company_id)
        company = await self._services.accounts.company(company_id)
        if not is_open(company):
            return  # It was deleted; a key that is still cached must not bring anything of it back.
        enrolments: list[_Enrolment] = []
        for delivery in deliveries:
            header, _, _ = decode_message(delivery.value)
            job = await self._services.jobs.get(company_id, header.job_id)
            if job is None or job.wrapped_key is None:
                await self._already_ended(company_id, job)
                continue
            job_key = key.unwrap_job_key(job.id, job.wrapped_key)
            if job.kind is JobKind.ENROLL:
                body = open_body(delivery.value, job_key, TemplateBody)
                template = np.frombuffer(body.template, dtype="<f4")
                enrolments.append(_Enrolment(job, body, template, header.engine))
                continue
            await self._enrol(company_id, key, company, enrolments)
            enrolments = []
            if job.kind is JobKind.REGROUP_USER:
                body = open_body(delivery.value, job_key, RegroupingBody)
                await self._regrouper.regroup(company_id, job, body)
            else:
                await self._remover.remove(company_id, job, open_body(delivery.value, job_key, RemovalBody))
        await self._enrol(company_id, key, company, enrolments)

    async def _already_ended(self, company_id: UUID, job: JobRecord | None) -> None:
        if job is not None and job.kind is JobKind.ENROLL and job.state is not JobState.SUCCEEDED:
            # It was closed while its face was being written: what was promised to nobody is taken back.
            await self._take_back(company_id, face_id_of(job))
            await self._drop_photos(company_id, face_id_of(job))

    async def _enrol(
        self, company_id: UUID, key: CompanyKey, company: Company, enrolments: Sequence[_Enrolment]
    ) -> None:
        undecided = list(enrolments)
        while undecided:
            edition = self._indexer.edition
            change = await self._indexer.catch_up(company_id)
            self._gallery.forget_size(company_id)
            faces = (await self._gallery.size(company_id)).faces
            run = _Run(company_id, key, company.policies, edition, change, faces)
            undecided = await self._decide(run, undecided)
        if enrolments:
            await self._indexer.catch_up(company_id)
            self._gallery.forget_size(company_id)
        for enrolment in enrolments:
            await self._finish(company_id, enrolment, company.policies.retention)

    async def _decide(self, run: _Run, enrolments: Sequence[_Enrolment]) -> list[_Enrolment]:
        """Decide one after another; answers those that are left when somebody else has changed the
        gallery."""
        templates = [enrolment.template for enrolment in enrolments]
        nearest = await self._gallery.nearest(run.company_id, templates, users=_USERS_COMPARED)
        if self._indexer.edition != run.edition:
            return list(enrolments)  # The index was made anew, and may not have had everybody yet.
        for place, (enrolment, near) in enumerate(zip(enrolments, nearest, strict=True)):
            try:
                await self._decide_one(run, enrolment, near)
            except Overtaken:
                return list(enrolments[place:])
        return []

    async def _decide_one(self, run: _Run, enrolment: _Enrolment, near: Sequence[NearestUser]) -> None:
        job, services = enrolment.job, self._services
        user = await services.users.get(run.company_id, enrolment.user_hash)
        if (user.epoch if user else 0) != job.subject_epoch:
            enrolment.ending = superseded(job)
            return
        own = [
            OwnFace(record, float(enrolment.template @ open_template(run.key, record)))
            for record in await services.faces.active_of_user(run.company_id, enrolment.user_hash)
        ]
        decided = next((face.record for face in own if face.record.id == str(enrolment.face_id)), None)
        if decided is None:
            barred = bar(run.policies, user, enrolment.body.enrolment, services.clock.now())
            verdict = barred or judge(
                enrolment.body.photo_hash,
                own,
                _others(run, enrolment, near),
                comparisons=run.faces + len(run.fresh),
                policies=run.policies,
                calibration=self._calibration,
            )
            if verdict.problem is not None:
                enrolment.ending = await not_enrolled(services, run.company_id, job, enrolment.body, verdict)
                return
            decided = verdict.same_photo or await self._insert(run, enrolment)
        else:
            verdict = Verdict()  # An earlier run of the job has decided it; only its ending is missing.
        await self._keep(run, enrolment, decided, verdict)

    async def _insert(self, run: _Run, enrolment: _Enrolment) -> FaceRecord | None:
        job, body = enrolment.job, enrolment.body
        keeps_photos = run.policies.retention.keep_photos  # Or did, when the photo was opened.
        record = FaceRecord(
            id=str(enrolment.face_id),
            change=run.change + 1,
            state=FaceState.ACTIVE,
            job_id=job.id,
            user_hash=enrolment.user_hash,
            epoch=job.subject_epoch,
            model=self._services.model,
            template_sealed=run.key.seal_template(enrolment.face_id, body.template),
            photo_hash=body.photo_hash,
            photo_key=body.photo_key if keeps_photos else None,
            reference_photo_key=body.reference_photo_key if keeps_photos else None,
            box=body.face.box,
            landmarks=body.face.landmarks,
            quality=body.face.quality,
            detection_confidence=body.face.detection_confidence,
            created_at=self._services.clock.now(),
            enrolled_by=job.submitted_by,
        )
        try:
            await self._services.faces.insert(run.company_id, record)
        except AlreadyDecided as earlier:
            # Not among the active ones, or it would have been found before: it was taken back or deleted
            # since.
            return earlier.record if earlier.record.state is FaceState.ACTIVE else None
        run.change += 1
        run.fresh.append(enrolment)
        return record

    async def _keep(
        self, run: _Run, enrolment: _Enrolment, record: FaceRecord | None, verdict: Verdict
    ) -> None:
        """Bring the user's record in line; the face counts only together with it."""
        job, services = enrolment.job, self._services
        if record is None:
            enrolment.ending = superseded(job)
            return
        try:
            user, groups_changed = await services.users.save_enrolment(
                run.company_id, enrolment.user_hash, job.subject_epoch, enrolment.body.enrolment
            )
        except EpochMoved:
            await self._take_back(run.company_id, enrolment.face_id)
            enrolment.ending = superseded(job)
            return
        except OutOfReach:
            await self._take_back(run.company_id, enrolment.face_id)
            refusal = Verdict(problem=ProblemError("not_found"))
            enrolment.ending = await not_enrolled(services, run.company_id, job, enrolment.body, refusal)
            return
        if record.photo_key is not None:
            enrolment.photo_kept_as = record.id
        enrolment.ending = await enrolled(
            services, run.company_id, job, enrolment.body, user, record, verdict, enrolment.engine
        )
        if groups_changed:
            for face in await services.faces.active_of_user(run.company_id, enrolment.user_hash):
                await services.faces.touch(run.company_id, UUID(face.id))

    async def _finish(self, company_id: UUID, enrolment: _Enrolment, retention: RetentionPolicy) -> None:
        if enrolment.ending is None:
            raise RuntimeError("an enrolment was left undecided")
        job = enrolment.job
        ended, _ = await self._finisher.finish(company_id, job, enrolment.ending, retention=retention)
        if ended.state is not JobState.SUCCEEDED:
            await self._take_back(company_id, enrolment.face_id)
        kept = ended.state is JobState.SUCCEEDED and enrolment.photo_kept_as == str(enrolment.face_id)
        if not kept and enrolment.body.photo_key is not None:
            with log_context(correlation_id=job.correlation_id, job_id=job.id, company_id=company_id):
                await self._drop_photos(company_id, enrolment.face_id)

    async def _take_back(self, company_id: UUID, face_id: UUID) -> None:
        if await self._services.faces.delete(company_id, face_id) is not None:
            await self._indexer.catch_up(company_id)

    async def _drop_photos(self, company_id: UUID, face_id: UUID) -> None:
        for object_key in (photo_key_of(face_id), reference_key_of(face_id)):
            try:
                await self._services.objects.delete(company_id, object_key)
            except ObjectsError:
                _log.warning("photo_left_behind")  # `faceid reconcile --repair` takes it away.


def _others(run: _Run, enrolment: _Enrolment, near: Sequence[NearestUser]) -> list[OtherUser]:
    """Other users near the new face: those in the index, and those decided in this run."""
    indexed = [OtherUser(found.user.id, found.similarity) for found in near]
    fresh = [OtherUser(new.user_hash, float(enrolment.template @ new.template)) for new in run.fresh]
    return [other for other in (*indexed, *fresh) if other.user_hash != enrolment.user_hash]
