"""Whom a credential has to do with, and what is checked of what is said about people."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from ingress.calls import Call
from ingress.validation import invalid_fields
from schemas.api.people import GivenConsent
from schemas.api.photos import EnrolRequest
from schemas.messages import EnrolmentFields
from schemas.problems import FieldError, ProblemError
from schemas.records import Consent, FaceRecord, FaceState, User, UserState

# A client's clock may be ahead of ours by so much.
_SKEW: Final = timedelta(minutes=5)


async def find_user(call: Call) -> User:
    """The user whose id stands in the path. Raises `ProblemError("not_found")`."""
    users, company_id = call.services.users, call.company_id
    user_hash = await users.hash_of(company_id, call.request.match_info["user_id"])
    user = await users.get(company_id, user_hash)
    if user is None or user.state is not UserState.ACTIVE or not call.identity.may_see(user.groups):
        raise ProblemError("not_found")
    return user


async def find_erasable(call: Call) -> tuple[str, int]:
    """The hash and epoch of a user who is there, or whose first enrolment is on its way. Raises
    `ProblemError("not_found")`."""
    services, company_id = call.services, call.company_id
    user_hash = await services.users.hash_of(company_id, call.request.match_info["user_id"])
    user = await services.users.get(company_id, user_hash)
    if user is None or user.state is not UserState.ACTIVE:
        # Of a key that is bound to groups only what it submitted itself is known to be in them.
        own_only = call.identity.credential if call.identity.groups is not None else None
        if await services.jobs.is_awaited(company_id, user_hash, submitted_by=own_only):
            return user_hash, user.epoch if user else 0
    found = await find_user(call)  # Read again: the enrolment may just have ended.
    return found.id, found.epoch


async def find_face(call: Call, face_id: UUID) -> tuple[FaceRecord, User]:
    """The face and its user, if both still count. Raises `ProblemError("not_found")`."""
    face = await call.services.faces.get(call.company_id, face_id)
    if face is None or face.state is not FaceState.ACTIVE or face.user_hash is None:
        raise ProblemError("not_found")
    user = await call.services.users.get(call.company_id, face.user_hash)
    if user is None or not owns(user, face) or not call.identity.may_see(user.groups):
        raise ProblemError("not_found")
    return face, user


def owns(user: User, face: FaceRecord) -> bool:
    """Whether an active face is this user's, and not of somebody erased who had the same id."""
    return user.state is UserState.ACTIVE and user.id == face.user_hash and user.epoch == face.epoch


def recorded(call: Call, given: GivenConsent | None) -> Consent | None:
    """The consent as it is kept. Raises `ProblemError("invalid_request")` for one of the future."""
    if given is None:
        return None
    now = call.services.clock.now()
    given_at = given.given_at or now
    if given_at > now + _SKEW:
        raise invalid_fields([FieldError(field="consent.given_at", message="is in the future")])
    return Consent(given_at=given_at, text_version=given.text_version, recorded_by=call.identity.credential)


def enrolment_fields(call: Call, request: EnrolRequest, user: User | None) -> EnrolmentFields:
    """What an enrolment says of the person, `user` being the record under this id. Raises ProblemError when
    it may not be said."""
    if user is not None and user.state is UserState.ACTIVE and not call.identity.may_see(user.groups):
        raise ProblemError("not_found")
    call.identity.narrowed(request.groups)  # Raises for groups that are not the key's.
    _require_future(request.valid_until, call.services.clock.now())
    within = call.identity.groups
    return request.fields(
        consent=recorded(call, request.consent),
        within_groups=tuple(sorted(within)) if within is not None else None,
    )


def _require_future(valid_until: datetime | None, now: datetime) -> None:
    if valid_until is not None and valid_until <= now:
        raise invalid_fields([FieldError(field="valid_until", message="is past")])
