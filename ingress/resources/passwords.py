"""One's own password: POST /me/password."""

from collections.abc import Callable
from uuid import UUID

from aiohttp import web
from pydantic import SecretStr

from infra.crypto.opaque import TokenMalformed
from infra.keys.errors import CompanyKeyGone
from ingress.calls import Call
from ingress.validation import invalid_fields
from schemas.api.accounts import checked_password
from schemas.api.members import PasswordRequest
from schemas.problems import FieldError, ProblemError
from schemas.records import Member


async def change(call: Call, body: PasswordRequest) -> web.Response:
    """A new password for the present one, or for a set-password token. The member's other sessions end."""
    if body.token is not None:
        await _by_token(call, body.token, body.new_password)
    elif body.current_password is not None:
        await _by_current(call, body.current_password, body.new_password)
    return web.Response(status=204)


async def _by_token(call: Call, token: SecretStr, new_password: SecretStr) -> None:
    try:
        presented = call.parts.set_password_tokens.parse(token.get_secret_value())
    except TokenMalformed:
        raise ProblemError("invalid_set_password_token") from None
    now = call.services.clock.now()

    def may(member: Member) -> bool:
        digest, until = member.set_password_hash, member.set_password_until
        return digest is not None and until is not None and presented.matches(digest) and now < until

    company_id = presented.company_id
    member = await call.services.members.get(company_id, str(presented.record_id))
    if member is None or not may(member):
        raise ProblemError("invalid_set_password_token")
    try:
        written = await _set(call, company_id, member, new_password, still=may)
    except CompanyKeyGone:
        written = None
    if written is None:
        raise ProblemError("invalid_set_password_token")


async def _by_current(call: Call, current_password: SecretStr, new_password: SecretStr) -> None:
    identity, services = call.identity, call.services
    member = await services.members.get(call.company_id, identity.member_id or "")
    stored = member.password_hash if member else None
    right = await call.parts.passwords.verify(stored, current_password.get_secret_value())
    if member is None or not right:
        raise ProblemError("wrong_password")
    written = await _set(
        call, call.company_id, member, new_password, still=lambda now: now.password_hash == stored
    )
    if written is None:
        raise ProblemError("wrong_password")  # Somebody else has changed or voided it meanwhile.
    await services.accounts.carry_session(call.company_id, str(identity.session_id), written.epoch)


async def _set(
    call: Call,
    company_id: UUID,
    member: Member,
    new_password: SecretStr,
    *,
    still: Callable[[Member], bool],
) -> Member | None:
    services = call.services
    company = await services.accounts.company(company_id)
    if company is None:
        return None
    known = await services.companies.settings(company_id, company)
    details = await services.members.open(company_id, member)
    try:
        checked_password(new_password, known.company_name, details.email)
    except ValueError as error:
        raise invalid_fields([FieldError(field="new_password", message=str(error))]) from None
    password_hash = await call.parts.passwords.hash(new_password.get_secret_value())
    written = await services.members.set_password(company_id, member.id, password_hash, still=still)
    if written is not None:
        await services.audit.record(
            company_id,
            "member.password_set",
            actor=f"member:{member.id}",
            correlation_id=call.correlation_id,
            data={"member_id": member.id},
        )
    return written
