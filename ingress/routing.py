"""What a route is, and the one place that keeps its rules: who may call it, what it takes, what is logged."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiohttp import hdrs, web

from infra.broker.port import Topic
from infra.broker.topics import SEARCH
from ingress.auth import has_credential
from ingress.bodies import Input
from ingress.calls import PARTS, Call
from ingress.describing import Answers
from ingress.idempotency import KEY_HEADER, Asked, once
from ingress.observing import COMPANY_ID
from ingress.refusals import recorded
from schemas.access import Scope
from schemas.jobs import JobKind
from schemas.problems import ProblemError

T = TypeVar("T")


@dataclass(frozen=True)
class Route(Generic[T]):
    """One method of one path. Without `scope` any credential will do; without `public` there must be one.

    With both, a call without a credential is let through, and one that is sent must be good and have the
    scope.
    """

    method: str
    path: str
    handler: Callable[[Call, T], Awaitable[web.StreamResponse]]
    takes: Input[T]
    answers: Answers
    scope: Scope | None = None
    public: bool = False
    attempt: JobKind | None = None
    """Set where a call is an attempt at recognition: then a refusal is an entry of the access log."""
    queue: Topic | None = None
    """Where a photo goes that the call brings: none is taken from a company that is paused, nor while the
    queue of searches is too long for it."""
    idempotent: bool = False
    """Whether `Idempotency-Key` is honoured: on every POST that makes something."""
    answers_secret: bool = False
    """The answer holds a secret, which is shown once: under an `Idempotency-Key`, too."""
    problems: tuple[str, ...] = ()
    """Codes that the handler itself may answer with; those of input, credential and job need not be said."""


def add_routes(app: web.Application, routes: Sequence[Route[Any]]) -> None:
    """Register the routes. What answers GET answers HEAD (RFC 9110 §9.1)."""
    for route in routes:
        endpoint = _endpoint(route)
        # Of itself aiohttp lets a place in the path hold no braces, but user ids may.
        path = re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", route.path)
        app.router.add_route(route.method, path, endpoint, expect_handler=_expect_later)
        if route.method == hdrs.METH_GET:
            app.router.add_route(hdrs.METH_HEAD, path, endpoint, expect_handler=_expect_later)


def _endpoint(route: Route[T]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        call = Call(request, request.app[PARTS], scope=route.scope)
        if not route.public or (route.scope is not None and has_credential(request)):
            call.caller = await call.parts.authenticator.identify(request)
            request[COMPANY_ID] = call.company_id
        async with _attempt(route, call):
            if route.scope is not None and call.caller is not None:
                call.caller.require(route.scope)
            if route.idempotent and KEY_HEADER in request.headers:
                return await _handled_once(route, call)
            _admit(route, call)
            return await route.handler(call, await route.takes.read(call))

    return endpoint


def _admit(route: Route[Any], call: Call) -> None:
    """Refuse before anything is read or stored what would not be done, or not in time."""
    if route.queue is None:
        return
    if call.identity.paused:
        raise ProblemError("company_paused")
    if route.queue is SEARCH:
        settings = call.services.settings
        # Who waits only briefly can do with a 202, and gets one unless nobody could be answered in time.
        wait_s = call.preference.wait_s
        patience_s = max(wait_s, settings.wait_s) if wait_s else settings.search_ttl_s
        call.parts.search_queue.admit(min(patience_s, settings.search_ttl_s))


async def _admit_claim(route: Route[Any], call: Call) -> None:
    """Under an `Idempotency-Key` only what begins anew can be refused: what was accepted before stands."""
    try:
        _admit(route, call)
    except ProblemError:
        if await call.services.jobs.get(call.company_id, call.new_id()) is None:
            raise


async def _handled_once(route: Route[T], call: Call) -> web.StreamResponse:
    # Popped when it is handed on: nothing here may hold a photo for as long as the handler waits.
    bodies = [await route.takes.read(call)]
    asked = await Asked.of(call, bodies[0])

    async def handle() -> web.StreamResponse:
        async with _attempt(route, call):
            await _admit_claim(route, call)
            return await route.handler(call, bodies.pop())

    return await once(call, asked, handle, answers_secret=route.answers_secret)


@asynccontextmanager
async def _attempt(route: Route[Any], call: Call) -> AsyncGenerator[None]:
    """Record a refusal where the route is an attempt at recognition. One that names a job has its record, and
    what is still in progress is an attempt that will have its own."""
    try:
        yield
    except ProblemError as problem:
        has_its_own = "job_id" in problem.extra or problem.code == "idempotency_in_progress"
        if route.attempt is None or has_its_own or problem.type.status >= 500:
            raise
        raise await recorded(call, route.attempt, problem) from None


async def _expect_later(_request: web.Request) -> None:
    """`100-continue` is sent when the body is read (`ingress.bodies`): who is refused before is spared that.
    Other expectations are ignored, as RFC 9110 §10.1.1 allows."""
