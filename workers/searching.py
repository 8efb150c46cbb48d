"""What a search answers: who the faces of a probe are, as surely as the figures say, or that they are
nobody."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from infra.metric_table import STAGE_SECONDS
from infra.repositories.access_log import LogEntry
from infra.repositories.jobs import Ending
from infra.services import Services
from schemas.calibration import Calibration
from schemas.jobs import JobState, LogDetails, Outcome
from schemas.messages import SearchFields
from schemas.recognition import Face
from schemas.results import Candidate, FaceResult, SearchResult
from schemas.scoring import OperatingPoint, Verdict, decide
from workers.comparing import ceiled, figures, floored
from workers.gallery import Gallery, NearestUser
from workers.opened import Opened
from workers.recognition.analysis import Analysis, UnusableFace

# Confidence weighs everybody found against each other, so more users are looked up than a client asks for.
_USERS_WEIGHED = 8


@dataclass(frozen=True)
class _Searched:
    """What was found for one face: who is near, the verdict on each, and what of it is shown."""

    face: Face
    nearest: Sequence[NearestUser]
    verdicts: Sequence[Verdict]
    candidates: list[Candidate]

    @property
    def best(self) -> Candidate | None:
        return next((candidate for candidate in self.candidates if candidate.accepted), None)

    @property
    def matched_hash(self) -> str | None:
        """Whom the face is taken for: the first of the nearest, since a match is never below another."""
        return self.nearest[0].user.id if self.best else None

    @property
    def mentions(self) -> tuple[str, ...]:
        """All whom the answer or the log speaks of."""
        return tuple(near.user.id for near in self.nearest[: max(1, len(self.candidates))])


@dataclass(frozen=True)
class Searcher:
    """Turns an embedded probe into the ending of its job."""

    services: Services
    gallery: Gallery
    calibration: Calibration

    async def search(self, opened: Opened, fields: SearchFields, analysis: Analysis) -> Ending:
        """Search the company's gallery, or the groups asked for, for each face of the probe."""
        clock, company_id = self.services.clock, opened.company_id
        started_s = clock.monotonic_s()
        groups = frozenset(fields.groups) if fields.groups is not None else None
        probes = [found.template for found in analysis.faces]
        users = max(_USERS_WEIGHED, fields.limit)
        with self.services.tracing.span("index"):
            nearest = await self.gallery.nearest(
                company_id, probes, users=users, groups=groups, matched_under=opened.policies
            )
        size = await self.gallery.size(company_id, groups)
        # A gallery that has just grown may be counted low: it holds at least those found. Several faces a
        # user are as many chances of a false match, so rates and confidence are reckoned over faces.
        most = max(len(near) for near in nearest)
        faces = max(1, size.faces, most)
        # Several faces of a photo are as many chances, too: the bound on FPIR is one for the photo.
        point = opened.policies.match.operating_point(
            self.calibration,
            faces,
            fields.threshold_percent,
            may_loosen=fields.may_loosen,
            probes=len(probes),
        )
        searched: list[_Searched] = []
        for found, near in zip(analysis.faces, nearest, strict=True):
            verdicts = decide(
                self.calibration, [user.similarity for user in near], faces, point, probes=len(probes)
            )
            candidates = await self._candidates(company_id, fields, near, verdicts)
            searched.append(_Searched(found.face, near, verdicts, candidates))
        index_s = clock.monotonic_s() - started_s
        self.services.metrics.observe(STAGE_SECONDS, index_s, "index")
        head = next((one for one in searched if one.best), searched[0])
        result = SearchResult(
            job_id=UUID(opened.job.id),
            matched=head.best is not None,
            best=head.best,
            candidates=head.candidates,
            face=head.face,
            threshold=round(point.percent, 3),
            threshold_source=point.source,
            results=_results(searched, analysis.unusable, point) if fields.face == "all" else None,
            gallery_size=max(size.users, most),
            model=self.services.model,
            engine=analysis.engine,
            timings_ms={**opened.timings_ms(analysis.timings_ms), "index": round(index_s * 1000, 2)},
        )
        return await self._ending(opened, result, head, searched, point)

    async def _candidates(
        self,
        company_id: UUID,
        fields: SearchFields,
        nearest: Sequence[NearestUser],
        verdicts: Sequence[Verdict],
    ) -> list[Candidate]:
        """Who reaches the threshold; whoever investigates sees who does not, too."""
        shown = [
            (near, verdict)
            for near, verdict in zip(nearest, verdicts, strict=True)
            if verdict.accepted or fields.investigate
        ]
        return [await self._candidate(company_id, *pair) for pair in shown[: fields.limit]]

    async def _candidate(self, company_id: UUID, near: NearestUser, verdict: Verdict) -> Candidate:
        person = await self.services.users.open(company_id, near.user)
        return Candidate(
            **figures(near.similarity, verdict),
            face_id=UUID(near.face.id),
            user_id=person.user_id,
            full_name=person.full_name,
            tags=list(person.tags),
            groups=list(person.groups),
            reference_id=person.reference_id,
            metadata=person.metadata,
            fpir=ceiled(verdict.fpir.value),
            accepted=verdict.accepted,
        )

    async def _ending(
        self,
        opened: Opened,
        result: SearchResult,
        head: _Searched,
        searched: Sequence[_Searched],
        point: OperatingPoint,
    ) -> Ending:
        """One entry of the access log, however many faces were searched for."""
        matches = {one.matched_hash: one.best for one in searched if one.matched_hash and one.best}
        user_hashes = tuple(user_hash for user_hash in matches if user_hash)
        user_ids = [best.user_id for best in matches.values()]
        top, verdict = (head.nearest[0], head.verdicts[0]) if head.nearest else (None, None)
        near_id = None
        if top is not None and not matches:
            near_id = (await self.services.users.open(opened.company_id, top.user)).user_id
        log = LogEntry(
            outcome=Outcome.MATCHED if matches else Outcome.NOT_MATCHED,
            details=LogDetails(
                id=opened.job.id,
                user_id=user_ids[0] if user_ids else None,
                other_user_ids=tuple(user_ids[1:]),
                nearest_user_id=near_id,
                location=opened.location,
            ),
            user_hashes=user_hashes,
            photo_hash=opened.photo_hash,
            score=verdict.score if verdict else None,
            similarity=top.similarity if top else None,
            confidence_percent=floored(verdict.confidence_percent) if verdict else None,
            threshold_percent=point.percent,
        )
        return Ending(
            state=JobState.SUCCEEDED,
            http_status=200,
            answer=result,
            event_type="search.matched" if matches else "search.not_matched",
            event_data={
                "face_id": str(result.best.face_id) if result.best else None,
                "user_hash": user_hashes[0] if user_hashes else None,
                "other_user_hashes": list(user_hashes[1:]),
            },
            log=log,
            mentions=tuple(dict.fromkeys(user_hash for one in searched for user_hash in one.mentions)),
        )


def _results(
    searched: Sequence[_Searched], unusable: Sequence[UnusableFace], point: OperatingPoint
) -> list[FaceResult]:
    """Each face for itself: those searched for, then those that could not be."""
    results = [
        FaceResult(
            matched=one.best is not None,
            best=one.best,
            candidates=one.candidates,
            face=one.face,
            threshold=round(point.percent, 3),
            threshold_source=point.source,
        )
        for one in searched
    ]
    refused = [
        FaceResult(
            matched=False,
            best=None,
            candidates=[],
            face=one.face,
            threshold=None,
            threshold_source=None,
            code=one.code,
            detail=one.detail,
        )
        for one in unusable
    ]
    return results + refused
