"""What of a job's answer whoever asks may read. Who asks may be somebody else than who submitted, or may do
less by now, so this is decided at each answer."""

from typing import TypeVar

from ingress.calls import Call
from schemas.access import Scope
from schemas.jobs import JobKind, JobRecord, JobState
from schemas.policies import CompanyPolicies
from schemas.problems import Problem
from schemas.records import UserState
from schemas.results import FaceResult, SearchResult

R = TypeVar("R", SearchResult, FaceResult)


async def answer_text(call: Call, job: JobRecord) -> str | None:
    """The answer's body as JSON, None when the job has none (any more) or none for who asks.

    A duplicate's other person is named only to who may read them. Whom a search found is told to who may
    search or read people; what would not have opened a door, only to who may investigate.
    """
    text = await call.services.jobs.result_text(call.company_id, job)
    if text is None:
        return None
    if job.state is JobState.SUCCEEDED:
        return await _search_text(call, text) if job.kind is JobKind.SEARCH else text
    problem = Problem.model_validate_json(text)
    if problem.user_id is None or await _may_read(call, problem.user_id):
        return text
    return problem.model_copy(update={"user_id": None}).model_dump_json(exclude_none=True)


async def _may_read(call: Call, user_id: str) -> bool:
    if not call.identity.may(Scope.FACES_READ):
        return False
    if call.identity.groups is None:
        return True
    users = call.services.users
    user_hash = await users.hash_of(call.company_id, user_id)
    user = await users.get(call.company_id, user_hash)
    return user is not None and user.state is UserState.ACTIVE and call.identity.may_see(user.groups)


async def _search_text(call: Call, text: str) -> str | None:
    identity = call.identity
    if not (identity.may(Scope.SEARCH) or identity.may(Scope.FACES_READ)):
        return None
    if identity.may(Scope.INVESTIGATE):
        return text
    result = SearchResult.model_validate_json(text)
    if await _is_loosened(call, result):
        return None
    results = None if result.results is None else [_accepted_only(one) for one in result.results]
    return _accepted_only(result).model_copy(update={"results": results}).model_dump_json()


async def _is_loosened(call: Call, result: SearchResult) -> bool:
    """Whether it was asked for less certainty than the company's policy wants."""
    if result.threshold_source != "request":
        return False
    company = await call.services.accounts.company(call.company_id)
    policies = company.policies if company else CompanyPolicies()
    return result.threshold < policies.match.threshold_percent


def _accepted_only(result: R) -> R:
    return result.model_copy(update={"candidates": [one for one in result.candidates if one.accepted]})
