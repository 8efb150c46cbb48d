"""What a verification answers: whether a photo is of this user, or two photos are of one person."""

from dataclasses import dataclass
from uuid import UUID

from infra.repositories.access_log import LogEntry
from infra.repositories.jobs import Ending
from infra.services import Services
from schemas.calibration import Calibration
from schemas.jobs import JobState, LogDetails, Outcome
from schemas.messages import VerifyFields
from schemas.problems import ProblemError
from schemas.records import FaceRecord, User
from schemas.results import VerifyResult
from workers.comparing import ceiled, compared, figures, floored
from workers.ending import refused, superseded
from workers.gallery import counts
from workers.indexing import open_template
from workers.opened import Opened
from workers.recognition.analysis import AnalysedFace, Analysis


@dataclass(frozen=True)
class _Claimed:
    """The user whom a photo is said to be of."""

    user: User
    user_id: str


@dataclass(frozen=True)
class _Nearest:
    """The most similar of the faces that the photo's was compared with: the user's, or the second photo's."""

    similarity: float
    comparisons: int
    record: FaceRecord | None = None
    other: AnalysedFace | None = None


@dataclass(frozen=True)
class Verifier:
    """Turns embedded photos into the ending of a verification."""

    services: Services
    calibration: Calibration

    async def verify(
        self, opened: Opened, fields: VerifyFields, analysis: Analysis, other: Analysis | None
    ) -> Ending:
        """Compare with the second photo's face, or with all faces of the user that the job is about."""
        template = analysis.faces[0].template
        if other is not None:
            face = other.faces[0]
            nearest = _Nearest(float(template @ face.template), 1, other=face)
            return self._ending(opened, fields, [analysis, other], nearest, None)
        found = await self._claimed(opened, fields)
        if isinstance(found, Ending):
            return found
        claimed, records = found
        # One may have been enrolled with another model: its template is of another space.
        similarities = [
            (float(template @ open_template(opened.key, record)), record)
            for record in records
            if record.model == self.services.model
        ]
        if not similarities:
            return _refused(opened, "user_without_faces")
        similarity, record = max(similarities, key=lambda pair: pair[0])
        nearest = _Nearest(similarity, len(similarities), record)
        return self._ending(opened, fields, [analysis], nearest, claimed)

    async def _claimed(
        self, opened: Opened, fields: VerifyFields
    ) -> tuple[_Claimed, list[FaceRecord]] | Ending:
        job, services = opened.job, self.services
        user_hash = job.subject_user_hash or ""
        user = await services.users.get(opened.company_id, user_hash)
        if user is None or user.user_id_sealed is None or user.epoch != job.subject_epoch:
            return superseded(job)
        groups = frozenset(fields.groups) if fields.groups is not None else None
        if groups is not None and groups.isdisjoint(user.groups):
            return _refused(opened, "not_found")  # Taken out of the group since the ingress looked.
        if not user.may_be_matched(services.clock.now(), opened.policies):
            return _refused(opened, "user_not_valid")
        records = await services.faces.active_of_user(opened.company_id, user_hash)
        person = await services.users.open(opened.company_id, user)
        counting = [record for record in records if counts(record, user, groups)]
        return _Claimed(user, person.user_id), counting

    def _ending(
        self,
        opened: Opened,
        fields: VerifyFields,
        photos: list[Analysis],
        nearest: _Nearest,
        claimed: _Claimed | None,
    ) -> Ending:
        verdict, point = compared(
            self.calibration,
            opened.policies,
            nearest.similarity,
            comparisons=nearest.comparisons,
            requested_percent=fields.threshold_percent,
            may_loosen=fields.may_loosen,
        )
        matched = verdict.accepted
        result = VerifyResult(
            **figures(nearest.similarity, verdict),
            job_id=UUID(opened.job.id),
            matched=matched,
            user_id=claimed.user_id if claimed else None,
            face_id=UUID(nearest.record.id) if nearest.record else None,
            fpir=ceiled(verdict.fpir.value),
            threshold=round(point.percent, 3),
            threshold_source=point.source,
            comparisons=nearest.comparisons,
            face=photos[0].faces[0].face,
            other_face=nearest.other.face if nearest.other else None,
            model=self.services.model,
            engine=photos[0].engine,
            timings_ms=opened.timings_ms(*(photo.timings_ms for photo in photos)),
        )
        user_hashes = (claimed.user.id,) if claimed else ()
        log = LogEntry(
            outcome=Outcome.MATCHED if matched else Outcome.NOT_MATCHED,
            details=LogDetails(
                id=opened.job.id,
                user_id=result.user_id if matched else None,
                nearest_user_id=None if matched else result.user_id,
                location=opened.location,
            ),
            user_hashes=user_hashes if matched else (),
            photo_hash=opened.photo_hash,
            score=verdict.score,
            similarity=nearest.similarity,
            confidence_percent=floored(verdict.confidence_percent),
            threshold_percent=point.percent,
        )
        return Ending(
            state=JobState.SUCCEEDED,
            http_status=200,
            answer=result,
            event_type="verify.matched" if matched else "verify.not_matched",
            event_data={
                "face_id": nearest.record.id if nearest.record else None,
                "user_hash": claimed.user.id if claimed else None,
            },
            log=log,
            mentions=user_hashes,
        )


def _refused(opened: Opened, code: str) -> Ending:
    return refused(opened.job, ProblemError(code), photo_hash=opened.photo_hash, location=opened.location)
