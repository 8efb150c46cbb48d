"""Companies and log-ins: POST /register, /login, /token/refresh, /logout."""

from uuid import UUID

from aiohttp import hdrs, web

from infra.crypto.opaque import TokenMalformed
from infra.repositories.accounts import EmailTaken
from ingress.answers import json_response
from ingress.bodies import JsonBody
from ingress.calls import Call
from schemas.api.accounts import LoginRequest, RefreshRequest, RegisterAnswer, RegisterRequest, TokenAnswer
from schemas.ids import new_id
from schemas.problems import ProblemError


class Registration(JsonBody[RegisterRequest]):
    """What POST /register takes where anybody may register. Where not, nothing is read or claimed: who has no
    account must not fill a store."""

    async def read(self, call: Call) -> RegisterRequest:
        if call.services.settings.registration != "open":
            raise ProblemError("registration_closed")
        return await super().read(call)


async def register(call: Call, body: RegisterRequest) -> web.Response:
    """A company and its first admin."""
    services = call.services
    password_hash = await call.parts.passwords.hash(body.password.get_secret_value())
    try:
        company, member = await services.accounts.register(
            company_name=body.company_name,
            email=body.email,
            password_hash=password_hash,
            model=services.model,
            company_id=call.new_id(),
        )
    except EmailTaken:
        raise ProblemError("email_taken") from None
    return json_response(RegisterAnswer(company_id=UUID(company.id), member_id=member.id), status=201)


async def login(call: Call, body: LoginRequest) -> web.Response:
    """E-mail and password for tokens. Who has no account is answered as, and costs what, a wrong password
    does."""
    services = call.services
    account = await services.accounts.find_login(body.email.strip())
    stored = account[1].password_hash if account else None
    right = await call.parts.passwords.verify(stored, body.password.get_secret_value())
    if account is None or not right:
        raise ProblemError("invalid_credentials")
    company_id, member = account
    session_id = new_id(services.clock.now(), services.entropy)
    refresh = call.parts.refresh_tokens.generate(company_id, session_id)
    await services.accounts.open_session(
        company_id,
        session_id,
        member,
        refresh_hash=refresh.digest,
        life_s=services.settings.refresh_token_s,
    )
    return _tokens(call, company_id, member.id, session_id, refresh.text)


async def refresh(call: Call, body: RefreshRequest) -> web.Response:
    """A refresh token for a new pair. One that was exchanged before has been copied by somebody: the session
    ends."""
    accounts = call.services.accounts
    try:
        presented = call.parts.refresh_tokens.parse(body.refresh_token.get_secret_value())
    except TokenMalformed:
        raise ProblemError("invalid_token") from None
    company_id, session_id = presented.company_id, presented.record_id
    session = await accounts.session(company_id, str(session_id))
    if session is None or await accounts.signed_in(company_id, session.id, session.member_id) is None:
        raise ProblemError("invalid_token")
    new = call.parts.refresh_tokens.generate(company_id, session_id)
    rotated = presented.matches(session.refresh_hash) and await accounts.rotate_session(
        company_id, session, refresh_hash=new.digest, life_s=call.services.settings.refresh_token_s
    )
    if not rotated:
        await accounts.end_session(company_id, str(session_id))
        raise ProblemError("invalid_token")
    return _tokens(call, company_id, session.member_id, session_id, new.text)


async def logout(call: Call, _: None) -> web.Response:
    """End the session: its access and refresh tokens stop working at once."""
    await call.services.accounts.end_session(call.company_id, str(call.identity.session_id))
    return web.Response(status=204)


def _tokens(
    call: Call, company_id: UUID, member_id: str, session_id: UUID, refresh_token: str
) -> web.Response:
    access_tokens = call.parts.authenticator.access_tokens
    access_token = access_tokens.issue(
        member_id=UUID(member_id), company_id=company_id, session_id=session_id
    )
    answer = TokenAnswer(
        access_token=access_token,
        expires_in=access_tokens.policy.lifetime_s,
        refresh_token=refresh_token,
    )
    response = json_response(answer)
    # RFC 6749 §5.1 asks for both.
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    response.headers[hdrs.PRAGMA] = "no-cache"
    return response
