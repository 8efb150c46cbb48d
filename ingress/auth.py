"""Who is asking and what they may do, read from the records at every request: changes count at once."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from aiohttp import hdrs, web

from infra.crypto.opaque import OpaqueTokens, PresentedToken, TokenMalformed
from infra.crypto.tokens import AccessTokens, TokenInvalid
from infra.keys.errors import CompanyKeyGone
from infra.repositories.accounts import is_open
from infra.services import Services
from schemas.access import KEY_SCOPES, ROLE_SCOPES, Scope
from schemas.policies import CompanyPolicies
from schemas.problems import ProblemError
from schemas.records import ApiKey

API_KEY_HEADER: Final = "X-API-Key"


@dataclass(frozen=True)
class Identity:
    """Whoever sent a request. `credential` is what records and logs name: member or key, not the token."""

    company_id: UUID
    credential: str
    scopes: frozenset[Scope]
    policies: CompanyPolicies = field(kw_only=True)
    """The company's, as they were when the request came."""
    paused: bool = field(default=False, kw_only=True)
    """The operator lets the company hand in no photos."""
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
    api_keys: OpaqueTokens

    async def identify(self, request: web.Request) -> Identity:
        """Raises ProblemError: `unauthenticated` without a credential, `ambiguous_credentials` for more than
        one, `invalid_token`, `token_expired` or `invalid_api_key` for one that does not stand (any more)."""
        keys = request.headers.getall(API_KEY_HEADER, [])
        if len(keys) + len(request.headers.getall(hdrs.AUTHORIZATION, [])) > 1:
            raise ProblemError("ambiguous_credentials")
        identity = await (self._of_key(keys[0].strip()) if keys else self._of_token(_bearer_token(request)))
        try:
            await self.services.keys.get(identity.company_id)
        except CompanyKeyGone:
            raise ProblemError("invalid_api_key" if keys else "invalid_token") from None
        return identity

    async def confirm(self, request: web.Request, identity: Identity) -> Identity:
        """Who sent a request, with what they may do by now. Raises as `identify` does where the key or the
        log-in is gone; that an access token runs out meanwhile does not matter."""
        if identity.session_id is None or identity.member_id is None:
            return await self.identify(request)
        return await self._of_session(identity.company_id, identity.session_id, identity.member_id)

    async def _of_token(self, token: str) -> Identity:
        try:
            claims = self.access_tokens.verify(token)
        except TokenInvalid as refusal:
            raise ProblemError(refusal.code) from None
        return await self._of_session(claims.company_id, claims.session_id, str(claims.member_id))

    async def _of_session(self, company_id: UUID, session_id: UUID, member_id: str) -> Identity:
        found = await self.services.accounts.signed_in(company_id, str(session_id), member_id)
        if found is None:
            raise ProblemError("invalid_token")
        company, member = found
        return Identity(
            company_id,
            f"member:{member.id}",
            ROLE_SCOPES[member.role],
            policies=company.policies,
            paused=company.paused_at is not None,
            member_id=member.id,
            session_id=session_id,
        )

    async def _of_key(self, text: str) -> Identity:
        try:
            presented = self.api_keys.parse(text)
        except TokenMalformed:
            raise ProblemError("invalid_api_key") from None
        company_id, key_id = presented.company_id, str(presented.record_id)
        company, key = await asyncio.gather(
            self.services.accounts.company(company_id), self.services.api_keys.get(company_id, key_id)
        )
        if key is None or not is_open(company) or not _stands(key, presented, self.services.clock.now()):
            raise ProblemError("invalid_api_key")
        groups = None if key.groups is None else frozenset(key.groups)
        return Identity(
            company_id,
            f"key:{key.id}",
            frozenset(key.scopes),
            policies=company.policies,
            paused=company.paused_at is not None,
            groups=groups,
        )


def has_credential(request: web.Request) -> bool:
    """Whether a request names who is asking at all."""
    return API_KEY_HEADER in request.headers or hdrs.AUTHORIZATION in request.headers


def _stands(key: ApiKey, presented: PresentedToken, now: datetime) -> bool:
    current = presented.matches(key.digest)
    previous = key.previous_digest is not None and presented.matches(key.previous_digest)
    overlaps = key.previous_until is not None and now < key.previous_until
    in_time = key.expires_at is None or now < key.expires_at
    return in_time and (current or (previous and overlaps))


def _bearer_token(request: web.Request) -> str:
    given = request.headers.get(hdrs.AUTHORIZATION)
    scheme, _, token = (given or "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise ProblemError("unauthenticated")
    return token.strip()
