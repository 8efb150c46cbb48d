"""Jobs: GET /jobs/{id} and GET /jobs."""

from aiohttp import web

from infra.documents.port import Page
from ingress.answers import job_answer, json_response
from ingress.calls import Call
from ingress.disclosure import answer_text
from ingress.listing import next_page, position_of
from schemas.api.jobs import JobAnswer, JobPage, JobQuery, JobsQuery
from schemas.jobs import JobRecord, JobState
from schemas.problems import ProblemError


async def show(call: Call, query: JobQuery) -> web.Response:
    """How far a job is; with `wait`, held until it has ended."""
    job_id = call.path_id("job_id")
    job = await call.parts.waiter.wait(call.company_id, job_id, _bounded(call, query.wait))
    if job is None:
        raise ProblemError("not_found")
    return json_response(await _answer(call, job))


async def index(call: Call, query: JobsQuery) -> web.Response:
    """The jobs of one correlation id; with `wait`, held until there is one and none is queued."""
    after = position_of(query, "jobs")

    async def read() -> Page[JobRecord]:
        return await call.services.jobs.by_correlation(
            call.company_id, query.correlation_id, after=after, limit=query.limit
        )

    def settled(page: Page[JobRecord]) -> bool:
        return bool(page.items) and all(job.state is not JobState.QUEUED for job in page.items)

    page = await call.parts.waiter.poll(read, settled, _bounded(call, query.wait))
    cursor, headers = next_page(call.request, query, "jobs", page.next_key)
    response = json_response(
        JobPage(items=[await _answer(call, job) for job in page.items], next_cursor=cursor)
    )
    response.headers.update(headers)
    return response


def _bounded(call: Call, wait_s: float) -> float:
    return min(wait_s, call.services.settings.max_wait_s)


async def _answer(call: Call, job: JobRecord) -> JobAnswer:
    return job_answer(job, await answer_text(call, job))
