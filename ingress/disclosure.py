"""What of a job's answer whoever asks may read: a duplicate's other person is named only to who may read
them."""

from ingress.calls import Call
from schemas.access import Scope
from schemas.jobs import JobRecord, JobState
from schemas.problems import Problem
from schemas.records import UserState


async def answer_text(call: Call, job: JobRecord) -> str | None:
    """The answer's body as JSON, None when the job has none (any more). Who asks may be somebody else than
    who submitted, so this is decided at each answer."""
    text = await call.services.jobs.result_text(call.company_id, job)
    if text is None or job.state is JobState.SUCCEEDED:
        return text
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
