"""From a job to an answer: held until it ends, or told where it can be asked after."""

import json
from uuid import UUID

from aiohttp import hdrs, web
from pydantic import BaseModel

from ingress.calls import Call
from ingress.disclosure import answer_text
from ingress.errors import PROBLEM_CODE
from schemas.api.jobs import JobAnswer
from schemas.jobs import JobKind, JobRecord, JobState
from schemas.problems import Problem, ProblemError

_RETRY_AFTER_S = 1
_CODES_WITHOUT_BODY = {
    JobState.EXPIRED: "job_expired",
    JobState.SUPERSEDED: "job_superseded",
}


def json_response(answer: BaseModel, *, status: int = 200) -> web.Response:
    """A model as JSON."""
    return web.Response(
        status=status, body=answer.model_dump_json().encode(), content_type="application/json"
    )


async def job_response(call: Call, job: JobRecord, *, synced: bool) -> web.Response:
    """Hold the call for as long as the client prefers, then answer how the job ended, or where to ask.

    `synced` tells whether the job is safe from a power failure yet; nobody is told 202 before it is.
    """
    preference = call.preference
    current = job
    if preference.wait_s > 0:
        current = await call.parts.waiter.wait(call.company_id, UUID(job.id), preference.wait_s) or job
    if current.state is JobState.QUEUED:
        if not synced:
            await call.services.documents.sync()
        response = json_response(job_answer(current, None), status=202)
        response.headers[hdrs.LOCATION] = f"/jobs/{job.id}"
        response.headers[hdrs.RETRY_AFTER] = str(_RETRY_AFTER_S)
    else:
        response = await ended_response(call, current)
    if preference.applied is not None:
        response.headers["Preference-Applied"] = preference.applied
    return response


async def ended_response(call: Call, job: JobRecord) -> web.Response:
    """What an ended job answers: its result with the result's status, or its problem."""
    text = await answer_text(call, job)
    if job.state is not JobState.SUCCEEDED:
        problem = _problem_of(job, text)
        response = web.Response(
            status=problem.status,
            body=problem.model_dump_json(exclude_none=True).encode(),
            content_type="application/problem+json",
        )
        response[PROBLEM_CODE] = problem.code
        return response
    if job.http_status == 204:
        return web.Response(status=204)
    body = text or job_answer(job, None).model_dump_json()
    response = web.Response(
        status=job.http_status or 200, body=body.encode(), content_type="application/json"
    )
    if job.kind is JobKind.ENROLL and text is not None:
        response.headers[hdrs.LOCATION] = f"/faces/{json.loads(text)['face_id']}"
    return response


def job_answer(job: JobRecord, result_text: str | None) -> JobAnswer:
    """The job as a resource, with its result or problem if that is kept."""
    body = json.loads(result_text) if result_text is not None else None
    return JobAnswer(
        job_id=UUID(job.id),
        kind=job.kind,
        state=job.state,
        created_at=job.created_at,
        ended_at=job.ended_at,
        correlation_id=job.correlation_id,
        result=body if job.state is JobState.SUCCEEDED else None,
        problem=body if job.state not in {JobState.SUCCEEDED, JobState.QUEUED} else None,
    )


def _problem_of(job: JobRecord, text: str | None) -> Problem:
    if text is not None:
        problem = Problem.model_validate_json(text)
    else:
        code = job.code or _CODES_WITHOUT_BODY.get(job.state, "job_failed")
        problem = ProblemError(code).problem()
    return problem.model_copy(update={"job_id": job.id, "correlation_id": job.correlation_id})
