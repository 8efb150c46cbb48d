"""People: DELETE /users/{user_id}."""

from aiohttp import web

from ingress.answers import job_response
from ingress.calls import Call
from schemas.problems import ProblemError
from schemas.records import UserState


async def erase(call: Call, _: None) -> web.Response:
    """Deny the person's faces from now on, then have every trace of them cleared."""
    services, company_id = call.services, call.company_id
    user_hash = await services.users.hash_of(company_id, call.request.match_info["user_id"])
    user = await services.users.get(company_id, user_hash)
    if user is None or user.state is not UserState.ACTIVE:
        raise ProblemError("not_found")
    job = await services.submission.accept_erasure(call.submitter(), user_hash, user.epoch)
    await services.users.erase(company_id, user_hash, user.epoch)
    await services.submission.publish_removal(company_id, job, synced=False)
    return await job_response(call, job, synced=False)
