"""Ending a job: its one terminal write and what follows from it, and the ways a job can end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import structlog
from pydantic import JsonValue

from infra.metric_table import JOB_SECONDS, JOBS, STAGE_SECONDS
from infra.objects.port import ObjectsError
from infra.repositories.access_log import LogEntry
from infra.repositories.jobs import Ending
from infra.services import Services
from infra.telemetry import log_context
from infra.tracing import Attributes
from schemas.ids import new_id
from schemas.jobs import ATTEMPT_KINDS, FAILED_EVENTS, JobRecord, JobState, LogDetails, Outcome
from schemas.policies import RetentionPolicy
from schemas.problems import ProblemError
from schemas.records import UserState
from workers.relay import Relay

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Finisher:
    """Ends jobs. The order is fixed: terminal write, what an erasure has missed, then blob, reply and events,
    each of which may be lost and redone."""

    services: Services
    relay: Relay

    async def finish(
        self,
        company_id: UUID,
        job: JobRecord,
        ending: Ending,
        *,
        retention: RetentionPolicy | None = None,
        keep_blob: bool = False,
    ) -> tuple[JobRecord, bool]:
        """End the job; answers how it ended, and whether it was this call that ended it. `retention` is the
        company's, where its record has been read for the job already."""
        with log_context(correlation_id=job.correlation_id, job_id=job.id, company_id=company_id):
            if retention is None:
                company = await self.services.accounts.company(company_id)
                retention = company.policies.retention if company else RetentionPolicy()
            return await self._finish(company_id, job, ending, retention, keep_blob=keep_blob)

    async def _finish(
        self,
        company_id: UUID,
        job: JobRecord,
        ending: Ending,
        retention: RetentionPolicy,
        *,
        keep_blob: bool,
    ) -> tuple[JobRecord, bool]:
        metrics = self.services.metrics
        about: Attributes = {"faceid.job.id": job.id, "faceid.job.kind": job.kind.value}
        with metrics.timed(STAGE_SECONDS, "end"), self.services.tracing.span("end", attributes=about):
            ended, won = await self.services.jobs.end(company_id, job, ending, retention)
            self.services.tracing.note(**{"faceid.job.outcome": (ended.outcome or ended.state).value})
        if await self._forget_erased(company_id, ended.mentions):
            ended = await self.services.jobs.get(company_id, UUID(job.id)) or ended
        if job.reply_to is not None:
            await self.services.broker.reply(job.reply_to, company_id, UUID(job.id))
        if won:
            metrics.count(JOBS, ended.kind, ended.outcome or ended.state)
            metrics.observe(JOB_SECONDS, _seconds(ended), ended.kind)
            _log.info("job_ended", kind=ended.kind, state=ended.state, outcome=ended.outcome, code=ended.code)
            await self.relay.tell(company_id, ended)
        if not keep_blob:
            await self._drop_blob(company_id, job)
        return ended, won

    async def _forget_erased(self, company_id: UUID, user_hashes: Sequence[str]) -> bool:
        """Take those out of the ended job who were erased while it was at work: an erasure cleans what has
        ended before it looks, and this, whoever was erased before that write."""
        services = self.services
        known = await services.users.get_many(company_id, user_hashes) if user_hashes else {}
        erased = [user for user in known.values() if user.state is UserState.ERASED]
        for user in erased:
            pseudonym = f"erased-{new_id(services.clock.now(), services.entropy)}"
            await services.jobs.forget_user(company_id, user.id, pseudonym)
        return bool(erased)

    async def _drop_blob(self, company_id: UUID, job: JobRecord) -> None:
        if job.blob_key is None:
            return
        try:
            await self.services.objects.delete(company_id, job.blob_key)
        except ObjectsError:
            _log.warning("blob_left_behind")  # The sweep takes it away.


def _seconds(ended: JobRecord) -> float:
    """How long the job took, by the clocks of whoever accepted and whoever ended it."""
    return max(0.0, ((ended.ended_at or ended.created_at) - ended.created_at).total_seconds())


def refused(
    job: JobRecord, problem: ProblemError, *, photo_hash: str, location: dict[str, JsonValue] | None
) -> Ending:
    """The request was understood and the answer is no: the client reads the code. The entry mentions whom the
    photo was said to be of, so that their erasure finds its hash."""
    ending = _problem_ending(job, problem, JobState.FAILED, Outcome.REFUSED)
    if ending.log is None:
        return ending
    details = LogDetails(id=job.id, location=location)
    log = LogEntry(outcome=Outcome.REFUSED, photo_hash=photo_hash, details=details)
    subject = job.subject_user_hash
    return replace(ending, log=log, mentions=() if subject is None else (subject,))


def failed(job: JobRecord) -> Ending:
    """We could not do it, and trying again has not helped."""
    return _problem_ending(job, ProblemError("job_failed"), JobState.FAILED, Outcome.FAILED)


def expired(job: JobRecord) -> Ending:
    """Nobody did it in its time, so it is not done at all."""
    return _problem_ending(
        job, ProblemError("job_expired"), JobState.EXPIRED, Outcome.EXPIRED, event_type="job.expired"
    )


def superseded(job: JobRecord) -> Ending:
    """The person was erased after the job was accepted."""
    return _problem_ending(job, ProblemError("job_superseded"), JobState.SUPERSEDED, Outcome.REFUSED)


def _problem_ending(
    job: JobRecord,
    problem: ProblemError,
    state: JobState,
    outcome: Outcome,
    *,
    event_type: str | None = None,
) -> Ending:
    body = ProblemError(problem.code, problem.detail, **{**problem.extra, "job_id": job.id})
    data: dict[str, JsonValue] = {"code": problem.code}
    return Ending(
        state=state,
        http_status=problem.type.status,
        answer=body.problem(job.correlation_id),
        event_type=event_type or FAILED_EVENTS[job.kind],
        event_data=data,
        code=problem.code,
        log=LogEntry(outcome=outcome) if job.kind in ATTEMPT_KINDS else None,
    )
