"""Photos: POST /face/enroll, /face/search, /face/verify and /face/detect."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from infra.submission import Subject
from ingress.answers import job_response
from ingress.calls import Call
from ingress.people import enrolment_fields
from ingress.photos import Photographed, check_photo, check_photos
from ingress.validation import invalid_fields
from schemas.access import Scope
from schemas.api.photos import DetectRequest, EnrolRequest, SearchRequest, VerifyRequest
from schemas.jobs import JobRecord
from schemas.problems import FieldError, ProblemError
from schemas.recognition import PhotoLimits
from schemas.records import UserState


async def enroll(call: Call, body: Photographed[EnrolRequest]) -> web.Response:
    """Put a person's face into the gallery."""
    synced = call.preference.wait_s == 0
    job = await _hashed(
        call, body.photo, _submit_enrolment(call, body, synced=synced), user_id=body.fields.user_id
    )
    del body  # Whoever waits must not hold the photo.
    return await job_response(call, job, synced=synced)


async def search(call: Call, body: Photographed[SearchRequest]) -> web.Response:
    """Ask who is on a photo."""
    call.location = body.fields.location
    synced = call.preference.wait_s == 0
    job = await _hashed(call, body.photo, _submit_search(call, body, synced=synced))
    del body
    return await job_response(call, job, synced=synced)


async def verify(call: Call, body: Photographed[VerifyRequest]) -> web.Response:
    """Ask whether a photo is of this user, or two photos of one person."""
    call.location = body.fields.location
    synced = call.preference.wait_s == 0
    job = await _hashed(
        call, body.photo, _submit_verification(call, body, synced=synced), user_id=body.fields.user_id
    )
    del body
    return await job_response(call, job, synced=synced)


async def detect(call: Call, body: Photographed[DetectRequest]) -> web.Response:
    """Ask what faces are in a photo, and what they are good for."""
    synced = call.preference.wait_s == 0
    check_photo(body.photo, _limits(call))
    job = await call.services.submission.detect(
        call.submitter(), body.photo, deadline_at=_deadline(call), synced=synced
    )
    del body
    return await job_response(call, job, synced=synced)


async def _hashed(
    call: Call, photo: bytes, submission: Coroutine[Any, Any, JobRecord], *, user_id: str | None = None
) -> JobRecord:
    """The submission; of one that is refused, the log entry tells the photo's hash."""
    try:
        return await submission
    except ProblemError:
        key = await call.services.keys.get(call.company_id)
        call.photo_hash = await asyncio.to_thread(key.photo_hash, photo)  # 5 ms for 10 MiB
        if user_id is not None:
            call.subject_hash = key.lookup("user.id", user_id)
        raise


async def _submit_enrolment(call: Call, body: Photographed[EnrolRequest], *, synced: bool) -> JobRecord:
    services = call.services
    check_photos(body, _limits(call))
    user_hash = await services.users.hash_of(call.company_id, body.fields.user_id)
    # The epoch is read before the job is accepted: an erasure after this voids the enrolment, whatever comes
    # first.
    user = await services.users.get(call.company_id, user_hash)
    return await services.submission.enroll(
        call.submitter(),
        body.photo,
        enrolment_fields(call, body.fields, user),
        user_hash=user_hash,
        user_epoch=user.epoch if user else 0,
        reference=body.second_photo,
        synced=synced,
    )


async def _submit_search(call: Call, body: Photographed[SearchRequest], *, synced: bool) -> JobRecord:
    if body.fields.investigate:
        call.identity.require(Scope.INVESTIGATE)
    may_loosen = _may_loosen(call, body.fields.threshold)
    groups = call.identity.narrowed(body.fields.groups)
    check_photo(body.photo, _limits(call))
    return await call.services.submission.search(
        call.submitter(),
        body.photo,
        body.fields.fields(groups=groups, may_loosen=may_loosen),
        deadline_at=_deadline(call),
        synced=synced,
    )


async def _submit_verification(call: Call, body: Photographed[VerifyRequest], *, synced: bool) -> JobRecord:
    services, asked = call.services, body.fields
    if (asked.user_id is None) == (body.second_photo is None):
        message = "exactly one of user_id and other_image is needed"
        raise invalid_fields([FieldError(field=name, message=message) for name in ("user_id", "other_image")])
    may_loosen = _may_loosen(call, asked.threshold)
    check_photos(body, _limits(call))
    against = await _subject(call, asked.user_id) if asked.user_id is not None else body.second_photo or b""
    return await services.submission.verify(
        call.submitter(),
        body.photo,
        asked.fields(groups=call.identity.groups, may_loosen=may_loosen),
        against=against,
        deadline_at=_deadline(call),
        synced=synced,
    )


async def _subject(call: Call, user_id: str) -> Subject:
    """The user that is asked about. Raises `ProblemError("not_found")`."""
    users = call.services.users
    user = await users.get(call.company_id, await users.hash_of(call.company_id, user_id))
    if user is None or user.state is not UserState.ACTIVE or not call.identity.may_see(user.groups):
        raise ProblemError("not_found", "There is no such user: check the id.")
    return Subject(user.id, user.epoch)


def _may_loosen(call: Call, threshold_percent: float | None) -> bool:
    """A request may ask for more certainty than the company's policy; for less, only who may investigate.

    Raises `ProblemError("threshold_too_low")`."""
    if call.identity.may(Scope.INVESTIGATE):
        return True
    if threshold_percent is not None:
        least_percent = call.identity.policies.match.threshold_percent
        if threshold_percent < least_percent:
            raise ProblemError("threshold_too_low", f"Ask for at least {least_percent:g} %.")
    return False


def _deadline(call: Call) -> datetime:
    services = call.services
    return services.clock.now() + timedelta(seconds=services.settings.search_ttl_s)


def _limits(call: Call) -> PhotoLimits:
    settings = call.services.settings
    return PhotoLimits(max_bytes=settings.max_photo_bytes, max_pixels=settings.max_photo_pixels)
