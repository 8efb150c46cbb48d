"""Photos: POST /face/enroll and POST /face/search."""

from datetime import timedelta

from aiohttp import web

from ingress.answers import job_response
from ingress.calls import Call
from ingress.photos import Photographed, check_photo
from schemas.api.photos import EnrolRequest, SearchRequest
from schemas.jobs import JobRecord
from schemas.policies import CompanyPolicies
from schemas.problems import ProblemError
from schemas.recognition import PhotoLimits


async def enroll(call: Call, body: Photographed[EnrolRequest]) -> web.Response:
    """Put a person's face into the gallery."""
    synced = call.preference.wait_s == 0
    job = await _submit_enrolment(call, body, synced=synced)
    del body  # Whoever waits must not hold the photo.
    return await job_response(call, job, synced=synced)


async def search(call: Call, body: Photographed[SearchRequest]) -> web.Response:
    """Ask who is on a photo."""
    call.location = body.fields.location
    synced = call.preference.wait_s == 0
    job = await _submit_search(call, body, synced=synced)
    del body
    return await job_response(call, job, synced=synced)


async def _submit_enrolment(call: Call, body: Photographed[EnrolRequest], *, synced: bool) -> JobRecord:
    services = call.services
    check_photo(body.photo, _limits(call))
    user_hash = await services.users.hash_of(call.company_id, body.fields.user_id)
    # The epoch is read before the job is accepted: an erasure after this voids the enrolment, whatever comes
    # first.
    return await services.submission.enroll(
        call.submitter(),
        body.photo,
        body.fields.fields(),
        user_hash=user_hash,
        user_epoch=await services.users.epoch(call.company_id, user_hash),
        synced=synced,
    )


async def _submit_search(call: Call, body: Photographed[SearchRequest], *, synced: bool) -> JobRecord:
    services = call.services
    if body.fields.threshold is not None:
        await _require_strict(call, body.fields.threshold)
    check_photo(body.photo, _limits(call))
    return await services.submission.search(
        call.submitter(),
        body.photo,
        body.fields.fields(),
        deadline_at=services.clock.now() + timedelta(seconds=services.settings.search_ttl_s),
        synced=synced,
    )


async def _require_strict(call: Call, threshold_percent: float) -> None:
    """A request may ask for more certainty than the company's policy, never for less."""
    company = await call.services.accounts.company(call.company_id)
    policies = company.policies if company else CompanyPolicies()
    least_percent = policies.match.threshold_percent
    if threshold_percent < least_percent:
        raise ProblemError("threshold_too_low", f"Ask for at least {least_percent:g} %.")


def _limits(call: Call) -> PhotoLimits:
    settings = call.services.settings
    return PhotoLimits(max_bytes=settings.max_photo_bytes, max_pixels=settings.max_photo_pixels)
