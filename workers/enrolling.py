"""An enrolment's way on from the face stage: compared with its reference, kept if that is policy, sent to the
registrar."""

import asyncio
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np

from infra.broker.topics import TEMPLATES
from infra.messaging import sealed_message
from infra.repositories.jobs import Ending
from infra.services import Services
from schemas.calibration import Calibration
from schemas.messages import EnrolmentFields, MessageHeader, TemplateBody
from schemas.problems import ProblemError
from schemas.recognition import Engine
from schemas.results import Comparison
from schemas.scoring import Verdict
from workers.comparing import compared, figures, floored
from workers.ending import refused
from workers.opened import Opened
from workers.recognition.analysis import Analysis
from workers.registrar import face_id_of
from workers.removal import photo_key_of, reference_key_of


@dataclass(frozen=True)
class Enroller:
    """Sends an embedded face to be decided about."""

    services: Services
    calibration: Calibration

    async def enrol(
        self, opened: Opened, fields: EnrolmentFields, analysis: Analysis, reference: Analysis | None
    ) -> Ending | None:
        """Send the face on; answers the ending of a job that ends here, since the reference photo is of
        somebody else."""
        face, comparison = analysis.faces[0], None
        if reference is not None:
            similarity = float(face.template @ reference.faces[0].template)
            verdict, point = compared(self.calibration, opened.policies, similarity)
            if not verdict.accepted:
                return _mismatch(opened, similarity, verdict, point.percent)
            comparison = Comparison(**figures(similarity, verdict))
        photo_key, reference_key = await self._keep_photos(opened)
        body = TemplateBody(
            template=np.ascontiguousarray(face.template, dtype="<f4").tobytes(),
            face=face.face,
            enrolment=fields,
            photo_hash=opened.photo_hash,
            photo_key=photo_key,
            timings_ms=opened.timings_ms(analysis.timings_ms, *([reference.timings_ms] if reference else [])),
            reference=comparison,
            reference_photo_key=reference_key,
        )
        await self._send(opened, body, analysis.engine)
        return None

    async def _keep_photos(self, opened: Opened) -> tuple[str | None, str | None]:
        """Keep the photos where the company's policy says so; answers under which keys."""
        if not opened.policies.retention.keep_photos:
            return None, None
        face_id = face_id_of(opened.job)
        photo_key = photo_key_of(face_id)
        await self._keep(opened, photo_key, opened.photos.photo)
        if opened.photos.second is None:
            return photo_key, None
        reference_key = reference_key_of(face_id)
        await self._keep(opened, reference_key, opened.photos.second)
        return photo_key, reference_key

    async def _keep(self, opened: Opened, object_key: str, photo: bytes) -> None:
        sealed = await asyncio.to_thread(opened.key.seal_photo, object_key, photo)
        await self.services.objects.put(opened.company_id, object_key, sealed)

    async def _send(self, opened: Opened, body: TemplateBody, engine: Engine) -> None:
        job = opened.job
        header = MessageHeader(
            type=TEMPLATES.name,
            company_id=opened.company_id,
            job_id=UUID(job.id),
            kind=job.kind,
            created_at=job.created_at,
            correlation_id=job.correlation_id,
            reply_to=job.reply_to,
            traceparent=self.services.tracing.current(),
            engine=engine,
        )
        message = sealed_message(header, body, opened.job_key, key=opened.company_id)
        await self.services.broker.publish(TEMPLATES, [message], synced=False)


def _mismatch(opened: Opened, similarity: float, verdict: Verdict, threshold_percent: float) -> Ending:
    """The photo is not of whom the reference photo shows: refused, with the figures in the log."""
    problem = ProblemError("reference_mismatch")
    ending = refused(opened.job, problem, photo_hash=opened.photo_hash, location=None)
    if ending.log is None:
        return ending
    log = replace(
        ending.log,
        score=verdict.score,
        similarity=similarity,
        confidence_percent=floored(verdict.confidence_percent),
        threshold_percent=threshold_percent,
    )
    return replace(ending, log=log)
