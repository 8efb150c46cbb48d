"""Who is asking and what they may do, read from the records at every request: changes count at once."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from aiohttp import web

from infra.crypto.tokens import AccessTokens, TokenInvalid
from infra.keys.errors import CompanyKeyGone
from infra.services import Services
from schemas.access import KEY_SCOPES, ROLE_SCOPES, Scope
from schemas.problems import ProblemError


@dataclass(frozen=True)
class Identity:
    """Whoever sent a request. `credential` is what records and logs name: member or key, not the token."""

    company_id: UUID
    credential: str
    scopes: frozenset[Scope]
    groups: frozenset[str] | None = None
    """The only groups of users that the credential has to do with; None for all there are."""
    member_id: str | None = None
    session_id: UUID | None = None
    """Which log-in it is, of a member."""

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes

    def require(self, scope: Scope) -> None:
        """Raises `ProblemError("forbidden")`, naming what would do."""
        if not self.may(scope):
            able = " or ".join(sorted(role for role, scopes in ROLE_SCOPES.items() if scope in scopes))
            key = f", or a key with the scope {scope}" if scope in KEY_SCOPES else ""
            raise ProblemError("forbidden", f"This takes the role {able}{key}.")

    def may_see(self, groups: Collection[str]) -> bool:
        """Whether somebody who is in these groups concerns the credential; who does not is a 404 to it."""
        return self.groups is None or not self.groups.isdisjoint(groups)

    def narrowed(self, asked: Collection[str] | None) -> frozenset[str] | None:
        """The groups to search in, or to enrol into, when these are asked for (None: not said); None for all
        there are.

        Raises `ProblemError("forbidden")` for groups that the credential has nothing to do with, and for none
        at all where it is bound to some.
        """
        if asked is None:
            return self.groups
        if self.groups is not None and not (asked and self.groups.issuperset(asked)):
            raise ProblemError(
                "forbidden", "This key is bound to groups: name only those, or leave `groups` out."
            )
        return frozenset(asked)


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
        return Identity(
            company_id,
            f"member:{member.id}",
            ROLE_SCOPES[member.role],
            member_id=member.id,
            session_id=claims.session_id,
        )


def _bearer_token(request: web.Request) -> str:
    given = request.headers.getall("Authorization", [])
    if not given:
        raise ProblemError("unauthenticated")
    scheme, _, token = given[0].strip().partition(" ")
    if scheme.lower() != "bearer" or len(given) > 1:
        raise ProblemError("unauthenticated")
    return token.strip()
