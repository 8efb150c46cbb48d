"""What a search answers: who the probe is, as surely as the figures say, or that it is nobody."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from infra.repositories.jobs import Ending, LogEntry
from infra.services import Services
from infra.vectors.port import Template
from schemas.jobs import JobRecord, JobState, LogDetails, Outcome
from schemas.messages import SearchFields
from schemas.policies import CompanyPolicies
from schemas.recognition import Face
from schemas.results import Candidate, SearchResult
from schemas.scoring import Calibration, OperatingPoint, Verdict, decide
from workers.gallery import Gallery, NearestUser

_HUNDREDTHS = 100

# Confidence weighs everybody found against each other, so more users are looked up than a client asks for.
_USERS_WEIGHED = 8


@dataclass(frozen=True)
class Probe:
    """One embedded face to be searched for."""

    job: JobRecord
    fields: SearchFields
    face: Face
    template: Template
    photo_hash: str
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class Searcher:
    """Turns a probe into the ending of its job."""

    services: Services
    gallery: Gallery
    calibration: Calibration

    async def search(self, company_id: UUID, policies: CompanyPolicies, probe: Probe) -> Ending:
        """Search the company's gallery, or the groups asked for."""
        clock = self.services.clock
        started_s = clock.monotonic_s()
        fields = probe.fields
        groups = frozenset(fields.groups) if fields.groups else None
        users = max(_USERS_WEIGHED, fields.limit)
        (nearest,) = await self.gallery.nearest(company_id, [probe.template], users=users, groups=groups)
        size = await self.gallery.size(company_id, groups)
        # A gallery that has just grown may be counted low: it holds at least those found. Several faces a
        # user are as many chances of a false match, so rates and confidence are reckoned over faces.
        faces = max(1, size.faces, len(nearest))
        point = policies.match.operating_point(self.calibration, faces, fields.threshold_percent)
        verdicts = decide(self.calibration, [near.similarity for near in nearest], faces, point)
        accepted = [
            await self._candidate(company_id, near, verdict)
            for near, verdict in zip(nearest, verdicts, strict=True)
            if verdict.accepted
        ][: fields.limit]
        index_ms = round((clock.monotonic_s() - started_s) * 1000, 2)
        result = SearchResult(
            job_id=UUID(probe.job.id),
            matched=bool(accepted),
            best=accepted[0] if accepted else None,
            candidates=accepted,
            face=probe.face,
            threshold=round(point.percent, 3),
            threshold_source=point.source,
            gallery_size=max(size.users, len(nearest)),
            model=self.services.model,
            timings_ms={**probe.timings_ms, "index": index_ms},
        )
        return await self._ending(company_id, probe, result, nearest, verdicts, point)

    async def _candidate(self, company_id: UUID, near: NearestUser, verdict: Verdict) -> Candidate:
        person = await self.services.users.open(company_id, near.user)
        return Candidate(
            face_id=UUID(near.face.id),
            user_id=person.user_id,
            full_name=person.full_name,
            tags=list(person.tags),
            groups=list(person.groups),
            reference_id=person.reference_id,
            metadata=person.metadata,
            similarity=round(near.similarity, 4),
            score=round(verdict.score, 4),
            confidence=_floored(verdict.confidence_percent),
            fmr=verdict.fmr.value,
            fpir=verdict.fpir.value,
            extrapolated=verdict.fmr.extrapolated or verdict.fpir.extrapolated,
        )

    async def _ending(
        self,
        company_id: UUID,
        probe: Probe,
        result: SearchResult,
        nearest: Sequence[NearestUser],
        verdicts: Sequence[Verdict],
        point: OperatingPoint,
    ) -> Ending:
        best = result.best
        top, verdict = (nearest[0], verdicts[0]) if nearest else (None, None)
        near_id = (await self.services.users.open(company_id, top.user)).user_id if top and not best else None
        location = probe.fields.location
        details = LogDetails(
            id=probe.job.id,
            user_id=best.user_id if best else None,
            nearest_user_id=near_id,
            location=location.model_dump(exclude_none=True) if location else None,
        )
        log = LogEntry(
            outcome=Outcome.MATCHED if best else Outcome.NOT_MATCHED,
            details=details,
            user_hashes=(top.user.id,) if top and best else (),
            photo_hash=probe.photo_hash,
            score=verdict.score if verdict else None,
            similarity=top.similarity if top else None,
            confidence_percent=_floored(verdict.confidence_percent) if verdict else None,
            threshold_percent=point.percent,
        )
        return Ending(
            state=JobState.SUCCEEDED,
            http_status=200,
            answer=result,
            event_type="search.matched" if best else "search.not_matched",
            event_data={
                "face_id": str(best.face_id) if best else None,
                "user_hash": top.user.id if top and best else None,
            },
            log=log,
            mentions=tuple(near.user.id for near in nearest[: max(1, len(result.candidates))]),
        )


def _floored(percent: float) -> float:
    """Two decimals, never rounded up: nobody is told 100 % who is not certain, nor 85 % below it."""
    return math.floor(percent * _HUNDREDTHS) / _HUNDREDTHS
