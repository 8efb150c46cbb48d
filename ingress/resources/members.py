"""Members: GET and POST /members, PATCH and DELETE /members/{id}."""

from datetime import timedelta
from uuid import UUID

from aiohttp import hdrs, web

from infra.crypto.opaque import NewToken
from infra.repositories.accounts import EmailTaken
from infra.repositories.admins import LastAdmin
from infra.repositories.members import MemberDetails, SetPassword
from ingress.answers import json_response
from ingress.calls import Call
from ingress.listing import page_response, position_of
from schemas.api.members import (
    InviteRequest,
    MemberAnswer,
    MemberChangeRequest,
    MemberPage,
    MembersQuery,
    MemberTokenAnswer,
)
from schemas.problems import ProblemError
from schemas.records import Member


async def index(call: Call, query: MembersQuery) -> web.Response:
    """Everybody who may log in, or is invited to."""
    page = await call.services.members.list(
        call.company_id, after=position_of(query, "members"), limit=query.limit
    )
    items = [await _answer(call, member) for member in page.items]
    return page_response(
        call.request,
        query,
        "members",
        page.next_key,
        lambda cursor: MemberPage(items=items, next_cursor=cursor),
    )


async def invite(call: Call, body: InviteRequest) -> web.Response:
    """A new member, with the token that sets their password."""
    services = call.services
    member_id = call.new_id()
    token, right = _right_to_set_password(call, member_id)
    try:
        member = await services.members.invite(
            call.company_id,
            member_id,
            MemberDetails(email=body.email, name=body.name),
            body.role,
            right,
            invited_by=call.identity.credential,
        )
    except EmailTaken:
        raise ProblemError("email_taken") from None
    await call.audit("member.invited", member_id=member.id, role=member.role)
    response = json_response(await _answer_with(call, member, token, right), status=201)
    response.headers[hdrs.LOCATION] = f"/members/{member.id}"
    return response


async def change(call: Call, body: MemberChangeRequest) -> web.Response:
    """Give a member another role, void their password, or both."""
    member_id = call.path_id("member_id")
    token, right = _right_to_set_password(call, member_id) if body.reset_password else (None, None)
    try:
        changed = await call.services.members.change(
            call.company_id, str(member_id), role=body.role, reset=right
        )
    except LastAdmin:
        raise ProblemError("last_admin") from None
    if changed is None:
        raise ProblemError("not_found")
    before, after = changed
    if before.role is not after.role:
        await call.audit("member.role_changed", member_id=after.id, before=before.role, after=after.role)
    if right is not None:
        await call.audit("member.password_reset", member_id=after.id)
    return json_response(await _answer_with(call, after, token, right))


async def remove(call: Call, _: None) -> web.Response:
    """Remove a member: their sessions end at once."""
    try:
        removed = await call.services.members.remove(call.company_id, str(call.path_id("member_id")))
    except LastAdmin:
        raise ProblemError("last_admin") from None
    if removed is None:
        raise ProblemError("not_found")
    await call.audit("member.removed", member_id=removed.id, role=removed.role)
    return web.Response(status=204)


def _right_to_set_password(call: Call, member_id: UUID) -> tuple[NewToken, SetPassword]:
    token = call.parts.set_password_tokens.generate(call.company_id, member_id)
    life = timedelta(seconds=call.services.settings.set_password_token_s)
    return token, SetPassword(token.digest, call.services.clock.now() + life)


async def _answer(call: Call, member: Member) -> MemberAnswer:
    details = await call.services.members.open(call.company_id, member)
    return MemberAnswer(
        member_id=member.id,
        email=details.email,
        name=details.name,
        role=member.role,
        state="invited" if member.password_hash is None else "active",
        created_at=member.created_at,
        created_by=member.created_by,
    )


async def _answer_with(
    call: Call, member: Member, token: NewToken | None, right: SetPassword | None
) -> MemberTokenAnswer:
    known = await _answer(call, member)
    return MemberTokenAnswer(
        **dict(known),
        set_password_token=token.text if token else None,
        set_password_token_expires_at=right.until if right else None,
    )
