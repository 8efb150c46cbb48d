"""Attempts at recognition that the ingress itself refuses: each is an entry of the access log, too."""

from infra.repositories.access_log import LogEntry
from infra.repositories.jobs import Ending
from ingress.calls import Call
from schemas.jobs import FAILED_EVENTS, JobKind, JobRecord, JobState, LogDetails, Outcome
from schemas.problems import ProblemError


async def recorded(call: Call, kind: JobKind, problem: ProblemError) -> ProblemError:
    """Record the refusal as a job that is born ended, on disk; answers the problem, which names that job.

    Under an `Idempotency-Key` the job has the id that the key stands for: asked again, the refusal is found.
    """
    services = call.services
    now = services.clock.now()
    job = JobRecord(
        id=str(call.new_id()),
        kind=kind,
        state=JobState.FAILED,
        created_at=now,
        deadline_at=None,
        submitted_by=call.identity.credential,
        correlation_id=call.correlation_id,
        wrapped_key=None,
        subject_user_hash=call.subject_hash,
    )
    named = ProblemError(problem.code, problem.detail, **{**problem.extra, "job_id": job.id})
    location = call.location.model_dump(exclude_none=True) if call.location else None
    ending = Ending(
        state=JobState.FAILED,
        http_status=problem.type.status,
        answer=named.problem(call.correlation_id),
        event_type=FAILED_EVENTS[kind],
        event_data={"code": problem.code},
        code=problem.code,
        log=LogEntry(
            outcome=Outcome.REFUSED,
            details=LogDetails(id=job.id, location=location),
            photo_hash=call.photo_hash,
        ),
        mentions=() if call.subject_hash is None else (call.subject_hash,),
    )
    retention = call.identity.policies.retention
    if not await services.jobs.record_refusal(call.company_id, job, ending, retention):
        return ProblemError("idempotency_in_progress", job_id=job.id)
    return named
