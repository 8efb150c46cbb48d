"""What a handler is given: the request, who sent it, and the parts that the ingress is made of."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from aiohttp import web
from pydantic import JsonValue

from infra.crypto.opaque import OpaqueTokens
from infra.crypto.passwords import Passwords
from infra.services import Services
from infra.submission import Submitter
from ingress.auth import Authenticator, Identity
from ingress.exports import Exports
from ingress.observing import CORRELATION_ID
from ingress.overload import SearchQueue
from ingress.pages import Pages
from ingress.preferences import Preference
from ingress.readiness import Readiness
from ingress.uploads import Uploads
from ingress.waiting import Waiter
from schemas.access import Scope
from schemas.ids import new_id
from schemas.problems import ProblemError
from schemas.records import Claim
from schemas.results import Location


@dataclass(frozen=True)
class Parts:
    """What the ingress is made of, the same for every request."""

    services: Services
    waiter: Waiter
    authenticator: Authenticator
    refresh_tokens: OpaqueTokens
    set_password_tokens: OpaqueTokens
    passwords: Passwords
    readiness: Readiness
    uploads: Uploads
    exports: Exports
    pages: Pages
    search_queue: SearchQueue


PARTS: Final = web.AppKey("parts", Parts)


@dataclass
class Call:
    """One request on its way through its route."""

    request: web.Request
    parts: Parts
    caller: Identity | None = None
    scope: Scope | None = None
    """What the caller must have, by the route."""
    location: Location | None = None
    """Where an attempt was made, once it is known: a refusal's log entry says it."""
    photo_hash: str | None = None
    """Of the photo of an attempt that is being refused, and"""
    subject_hash: str | None = None
    """of the user whom it was said to be of: for the log entry, too."""
    claim: Claim | None = None
    """What the request's `Idempotency-Key` stands for (`ingress.idempotency`)."""

    @property
    def services(self) -> Services:
        return self.parts.services

    @property
    def correlation_id(self) -> str:
        return self.request[CORRELATION_ID]

    @property
    def identity(self) -> Identity:
        """Who is asking. Not on public routes."""
        if self.caller is None:
            raise ProblemError("unauthenticated")
        return self.caller

    async def confirm_caller(self) -> None:
        """Ask again whether who sent the request may still do what it does: for an answer that takes long.

        Raises `ProblemError` as at the request's beginning.
        """
        caller = await self.parts.authenticator.confirm(self.request, self.identity)
        if self.scope is not None:
            caller.require(self.scope)

    @property
    def company_id(self) -> UUID:
        return self.identity.company_id

    @property
    def preference(self) -> Preference:
        """For how long the client wants to be held for its job."""
        settings = self.services.settings
        return Preference.of(self.request, default_s=settings.wait_s, max_s=settings.max_wait_s)

    def new_id(self) -> UUID:
        """The id of what the request makes: the one that its `Idempotency-Key` promises, else a new one.

        A request that is taken up again gets the same id, so it finds what it made before.
        """
        if self.claim is not None:
            return self.claim.made_id
        return new_id(self.services.clock.now(), self.services.entropy)

    def submitter(self) -> Submitter:
        """Whoever is asking, as a job's record names them."""
        return Submitter(
            company_id=self.company_id,
            credential=self.identity.credential,
            correlation_id=self.correlation_id,
            reply_to=self.parts.waiter.address,
            job_id=self.claim.made_id if self.claim is not None else None,
        )

    async def audit(self, event_type: str, **data: JsonValue) -> None:
        """Record what whoever is asking has done: ids, codes and figures, nothing personal."""
        await self.services.audit.record(
            self.company_id,
            event_type,
            actor=self.identity.credential,
            correlation_id=self.correlation_id,
            data=data,
        )

    def path_id(self, name: str) -> UUID:
        """An id in the path; one that can't be an id is as unknown as any other."""
        text = self.request.match_info[name]
        try:
            value = UUID(text)
        except ValueError:
            raise ProblemError("not_found") from None
        if str(value) != text.lower():
            raise ProblemError("not_found")
        return value
