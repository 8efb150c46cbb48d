"""Jobs: GET /jobs/{id} and GET /jobs."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from infra.documents.port import Page
from infra.repositories.job_lists import JobFilter
from ingress.answers import job_answer, json_response
from ingress.auth import Identity
from ingress.calls import Call
from ingress.disclosure import answer_text
from ingress.listing import page_response, position_of
from ingress.validation import invalid_fields
from schemas.access import Scope
from schemas.api.jobs import JobAnswer, JobPage, JobQuery, JobsQuery
from schemas.jobs import JobKind, JobRecord, JobState
from schemas.problems import FieldError, ProblemError

_PROBES: Final = frozenset({Scope.SEARCH, Scope.LOGS_READ})
_PEOPLE: Final = frozenset({Scope.FACES_READ, Scope.FACES_WRITE})

SEEN_WITH: Final[Mapping[JobKind, frozenset[Scope]]] = {
    JobKind.SEARCH: _PROBES,
    JobKind.VERIFY: _PROBES,
    JobKind.DETECT: _PROBES,
    JobKind.ENROLL: _PEOPLE,
    JobKind.DELETE_FACE: _PEOPLE,
    JobKind.ERASE_USER: _PEOPLE,
    JobKind.REGROUP_USER: _PEOPLE,
}
"""The scopes of a key, one of which shows the company's jobs of a kind."""


async def show(call: Call, query: JobQuery) -> web.Response:
    """How far a job is; with `wait`, held until it has ended."""
    job_id = call.path_id("job_id")
    job = await call.services.jobs.get(call.company_id, job_id)
    if job is None or not _sees(call.identity, job):
        raise ProblemError("not_found")
    job = await call.parts.waiter.wait(call.company_id, job_id, _bounded(call, query.wait)) or job
    return json_response(await _answer(call, job))


async def index(call: Call, query: JobsQuery) -> web.Response:
    """Jobs, newest first; with `wait`, held until one has the correlation id and none is queued."""
    if query.wait > 0 and query.correlation_id is None:
        raise invalid_fields([FieldError(field="wait", message="needs a correlation_id to wait on")])
    after = position_of(query, "jobs")
    wanted = _seen(call.identity, query)

    async def read() -> Page[JobRecord]:
        return await call.services.job_lists.page(call.company_id, wanted, after=after, limit=query.limit)

    def settled(page: Page[JobRecord]) -> bool:
        return bool(page.items) and all(job.state is not JobState.QUEUED for job in page.items)

    page = await call.parts.waiter.poll(read, settled, _bounded(call, query.wait))
    items = [await _answer(call, job) for job in page.items]
    return page_response(
        call.request, query, "jobs", page.next_key, lambda cursor: JobPage(items=items, next_cursor=cursor)
    )


def _sees(identity: Identity, job: JobRecord) -> bool:
    """A member sees all of the company's jobs; a key those that it submitted, and, unless it is bound to
    groups, those of the kinds that one of its scopes is about."""
    if identity.member_id is not None or job.submitted_by == identity.credential:
        return True
    return identity.groups is None and not SEEN_WITH[job.kind].isdisjoint(identity.scopes)


def _seen(identity: Identity, query: JobsQuery) -> JobFilter:
    """Which of the jobs asked for there are to see. A key lists its own or, of the kinds that it may see,
    all: what it submitted with scopes that it no longer has is found by id."""
    own_only = identity.member_id is None and identity.groups is not None
    kinds = [
        kind
        for kind in JobKind
        if query.kind in {None, kind}
        and (identity.member_id is not None or own_only or not SEEN_WITH[kind].isdisjoint(identity.scopes))
    ]
    return JobFilter(
        kinds=kinds,
        state=query.state,
        correlation_id=query.correlation_id,
        submitted_by=identity.credential if own_only else None,
        start=query.from_,
        end=query.to,
    )


def _bounded(call: Call, wait_s: float) -> float:
    return min(wait_s, call.services.settings.max_wait_s)


async def _answer(call: Call, job: JobRecord) -> JobAnswer:
    return job_answer(job, await answer_text(call, job))
