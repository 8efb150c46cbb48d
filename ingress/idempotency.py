"""`Idempotency-Key`: a request that is sent again under its key is done once, and answered as the first time.

The claim is written before anything is done and holds the id that the thing will have. So whatever breaks
off, and wherever, the same request goes on under the same id and finds what it made before.
"""

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from typing import Final, Self, cast
from uuid import UUID

from aiohttp import hdrs, web
from pydantic import BaseModel, SecretStr

from infra.documents.port import DocumentsError
from infra.keys.errors import KeyFault
from infra.repositories.claims import Claimant, Claims, KeptAnswer
from infra.telemetry import get_logger
from ingress.answers import job_response
from ingress.calls import Call
from ingress.errors import problem_response
from schemas.api.accounts import RegisterRequest
from schemas.ids import PLATFORM, new_id
from schemas.jobs import JobRecord, JobState
from schemas.problems import ProblemError
from schemas.records import Claim

KEY_HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotent-Replayed"

TAKEN_UP_AFTER: Final = timedelta(seconds=30)
"""How old a claim without a result must be before the same request is taken up again."""

_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]{1,255}")

_log = get_logger(__name__)


@dataclass(frozen=True)
class Asked:
    """Who asks for what, under which key."""

    by: Claimant
    claim_id: str
    fingerprint: str

    @classmethod
    async def of(cls, call: Call, body: object) -> Self:
        """Raises `ProblemError("invalid_idempotency_key")`."""
        given = call.request.headers.getall(KEY_HEADER)
        if len(given) > 1 or not _VISIBLE_ASCII.fullmatch(given[0]):
            raise ProblemError("invalid_idempotency_key")
        by = _claimant(call, body)
        text = await asyncio.to_thread(_described, call.request, body)  # A photo of 10 MiB takes 10 ms.
        claims = call.services.claims
        return cls(by, await claims.id_of(by, given[0]), await claims.fingerprint(by, text))


async def once(
    call: Call,
    asked: Asked,
    handle: Callable[[], Awaitable[web.StreamResponse]],
    *,
    answers_secret: bool,
) -> web.StreamResponse:
    """Do what the request asks, or answer what came of it when it was asked before under the same key.

    Raises ProblemError: `idempotency_key_reused`, `idempotency_in_progress`, `secret_already_shown`, or what
    `handle` raises.
    """
    claim, ours = await call.services.claims.make(
        asked.by, asked.claim_id, fingerprint=asked.fingerprint, made_id=_fresh_id(call)
    )
    if not ours:
        answer = await _given_before(call, asked.by, claim, asked.fingerprint)
        if isinstance(answer, web.Response):
            answer.headers[REPLAYED_HEADER] = "true"
            return answer
        claim = answer
    call.claim = claim
    return await _done(call, asked.by, claim, handle, answers_secret=answers_secret)


async def _given_before(call: Call, by: Claimant, claim: Claim, fingerprint: str) -> web.Response | Claim:
    """The answer that stands under the key; or the claim, taken up again, where there is none."""
    services = call.services
    now = services.clock.now()
    if claim.expires_at <= now or (claim.free and claim.fingerprint != fingerprint):
        return await _taken_up(call, by, claim, fingerprint, _fresh_id(call))
    if claim.fingerprint != fingerprint:
        raise ProblemError("idempotency_key_reused")
    if claim.secret_shown:
        raise _already_shown(call, claim)
    kept = await services.claims.answer(by, claim)
    if kept is not None:
        return _again(kept)
    job = await _job_of(call, claim)
    if job is not None and job.state is not JobState.QUEUED:
        if not _releases(job.http_status or 200):
            return await job_response(call, job, synced=True)
        return await _taken_up(call, by, claim, fingerprint, _fresh_id(call))
    if claim.free or claim.claimed_at + TAKEN_UP_AFTER <= now:
        return await _taken_up(call, by, claim, fingerprint, claim.made_id)
    if job is not None and claim.accepted:
        return await job_response(call, job, synced=True)
    raise _in_progress(job)


async def _done(
    call: Call,
    by: Claimant,
    claim: Claim,
    handle: Callable[[], Awaitable[web.StreamResponse]],
    *,
    answers_secret: bool,
) -> web.StreamResponse:
    """Do it, and keep what was answered. A crash leaves the claim, under which it is then done again."""
    claims = call.services.claims
    refusal: ProblemError | None = None
    try:
        try:
            response = await handle()
        except ProblemError as problem:
            refusal, response = problem, problem_response(problem, call.correlation_id)
        if _releases(response.status):
            await _release(claims, by, claim)
        else:
            await _keep(call, by, claim, response, secret=answers_secret and refusal is None)
    except Exception:
        await _release(claims, by, claim)
        raise
    if refusal is not None:
        raise refusal
    return response


async def _keep(
    call: Call, by: Claimant, claim: Claim, response: web.StreamResponse, *, secret: bool
) -> None:
    """A job's record has its answer, if only for as long as results are kept; other answers are kept here."""
    if await _job_of(call, claim) is not None:
        if response.status == 202:
            await call.services.claims.mark_accepted(by, claim)
        return
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes | None):
        raise TypeError("what is streamed can't be kept")
    answer = KeptAnswer(
        status=response.status,
        content_type=response.content_type,
        location=response.headers.get(hdrs.LOCATION),
        body=(response.body or b"").decode(),
    )
    if not await call.services.claims.keep(by, claim, None if secret else answer):
        raise _in_progress(None)


async def _release(claims: Claims, by: Claimant, claim: Claim) -> None:
    """Best effort, since a store may be what failed: a claim that stays is taken up when it is old enough."""
    with contextlib.suppress(DocumentsError, KeyFault):
        await claims.release(by, claim)
        return
    _log.warning("claim_not_released")


async def _taken_up(call: Call, by: Claimant, claim: Claim, fingerprint: str, made_id: UUID) -> Claim:
    taken = await call.services.claims.take_up(by, claim, fingerprint=fingerprint, made_id=made_id)
    if taken is None:
        raise _in_progress(None)
    return taken


async def _job_of(call: Call, claim: Claim) -> JobRecord | None:
    if call.caller is None:
        return None
    return await call.services.jobs.get(call.company_id, claim.made_id)


def _already_shown(call: Call, claim: Claim) -> ProblemError:
    """The thing is there, and its secret was in the first answer."""
    # What has a path is known by it (a key that was rotated); what was made anew by the id that it was given.
    made_id = next(iter(call.request.match_info.values()), str(claim.made_id))
    return ProblemError("secret_already_shown", id=made_id)


def _in_progress(job: JobRecord | None) -> ProblemError:
    named = {"job_id": job.id} if job is not None else {}
    return ProblemError("idempotency_in_progress", **named)


def _releases(status: int) -> bool:
    """Whether an answer says that nothing was decided: the next try may end otherwise."""
    return status == 429 or status >= 500


def _again(kept: KeptAnswer) -> web.Response:
    response = web.Response(
        status=kept.status, body=kept.body.encode() or None, content_type=kept.content_type
    )
    if kept.location is not None:
        response.headers[hdrs.LOCATION] = kept.location
    return response


def _fresh_id(call: Call) -> UUID:
    return new_id(call.services.clock.now(), call.services.entropy)


def _claimant(call: Call, body: object) -> Claimant:
    if isinstance(body, RegisterRequest):
        return Claimant(PLATFORM, call.services.accounts.platform.email_lookup(body.email))
    return Claimant(call.company_id, call.identity.credential)


def _described(request: web.Request, body: object) -> str:
    """Method, route and fields as one text, the same however they were sent; it is kept as a keyed hash
    only, since it holds whatever the request holds."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else ""
    described = [request.method, route, dict(request.match_info), body]
    return json.dumps(described, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    """What JSON has no form for; of bytes, which are photos, the hash."""
    if isinstance(value, BaseModel):
        return dict(value)
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Set):
        # Each process has an order of its own.
        return sorted(str(item) for item in cast(Set[object], value))
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return str(value)
