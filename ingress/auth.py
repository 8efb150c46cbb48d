"""Who is asking and what they may do, read from the records at every request: changes count at once."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from aiohttp import web

from infra.crypto.tokens import AccessTokens, TokenInvalid
from infra.keys.errors import CompanyKeyGone
from infra.services import Services
from schemas.problems import ProblemError
from schemas.records import Role


class Scope(StrEnum):
    """What a call needs and a credential may have."""

    FACES_READ = "faces:read"
    FACES_WRITE = "faces:write"
    SEARCH = "search"
    LOGS_READ = "logs:read"


ROLE_SCOPES: Final[dict[Role, frozenset[Scope]]] = {
    Role.ADMIN: frozenset(Scope),
    Role.STAFF: frozenset({Scope.FACES_READ, Scope.FACES_WRITE, Scope.SEARCH}),
    Role.AUDITOR: frozenset({Scope.FACES_READ, Scope.LOGS_READ}),
}


@dataclass(frozen=True)
class Identity:
    """Whoever sent a request. `credential` is what records and logs name: the member, not the token."""

    company_id: UUID
    member_id: str
    role: Role
    session_id: UUID

    @property
    def credential(self) -> str:
        return f"member:{self.member_id}"

    def require(self, scope: Scope) -> None:
        """Raises `ProblemError("forbidden")`, naming the roles that would do."""
        if scope not in ROLE_SCOPES[self.role]:
            able = " or ".join(sorted(role for role, scopes in ROLE_SCOPES.items() if scope in scopes))
            raise ProblemError("forbidden", f"This takes the role {able}.")


@dataclass(frozen=True)
class Authenticator:
    """Turns the credential of a request into an identity."""

    services: Services
    access_tokens: AccessTokens

    async def identify(self, request: web.Request) -> Identity:
        """Raises ProblemError: `unauthenticated` without a bearer token, `invalid_token` or `token_expired`
        for one that does not stand (any more)."""
        try:
            claims = self.access_tokens.verify(_bearer_token(request))
        except TokenInvalid as refusal:
            raise ProblemError(refusal.code) from None
        company_id = claims.company_id
        session = await self.services.accounts.session(company_id, str(claims.session_id))
        if session is None or session.member_id != str(claims.member_id):
            raise ProblemError("invalid_token")
        member = await self.services.accounts.member(company_id, session.member_id)
        if member is None:
            raise ProblemError("invalid_token")
        try:
            await self.services.keys.get(company_id)
        except CompanyKeyGone:
            raise ProblemError("invalid_token") from None
        return Identity(company_id, member.id, member.role, claims.session_id)


def _bearer_token(request: web.Request) -> str:
    given = request.headers.getall("Authorization", [])
    if not given:
        raise ProblemError("unauthenticated")
    scheme, _, token = given[0].strip().partition(" ")
    if scheme.lower() != "bearer" or len(given) > 1:
        raise ProblemError("unauthenticated")
    return token.strip()
