"""What a route is, and the one place that keeps its rules: who may call it, what it takes, what is logged."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aiohttp import hdrs, web
from pydantic import BaseModel

from ingress.bodies import Input
from ingress.calls import PARTS, Call
from ingress.observing import COMPANY_ID
from ingress.refusals import recorded
from schemas.access import Scope
from schemas.jobs import JobKind
from schemas.problems import ProblemError

T = TypeVar("T")


@dataclass(frozen=True)
class Route(Generic[T]):
    """One method of one path. Without `scope` any credential will do; without `public` there must be one."""

    method: str
    path: str
    handler: Callable[[Call, T], Awaitable[web.StreamResponse]]
    takes: Input[T]
    answers: Mapping[int, type[BaseModel] | None] = field(default_factory=dict[int, type[BaseModel] | None])
    """The model of each answer that is no problem, by status; None for one without a body."""
    scope: Scope | None = None
    public: bool = False
    attempt: JobKind | None = None
    """Set where a call is an attempt at recognition: then a refusal is an entry of the access log."""


def add_routes(app: web.Application, routes: Sequence[Route[Any]]) -> None:
    """Register the routes. What answers GET answers HEAD (RFC 9110 §9.1)."""
    for route in routes:
        endpoint = _endpoint(route)
        app.router.add_route(route.method, route.path, endpoint, expect_handler=_expect_later)
        if route.method == hdrs.METH_GET:
            app.router.add_route(hdrs.METH_HEAD, route.path, endpoint, expect_handler=_expect_later)


def _endpoint(route: Route[T]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        call = Call(request, request.app[PARTS])
        if route.public:
            return await route.handler(call, await route.takes.read(call))
        call.caller = await call.parts.authenticator.identify(request)
        request[COMPANY_ID] = call.company_id
        try:
            if route.scope is not None:
                call.identity.require(route.scope)
            return await route.handler(call, await route.takes.read(call))
        except ProblemError as problem:
            if route.attempt is None or problem.type.status >= 500:
                raise
            raise await recorded(call, route.attempt, problem) from None

    return endpoint


async def _expect_later(_request: web.Request) -> None:
    """`100-continue` is sent when the body is read (`ingress.bodies`): who is refused before is spared that.
    Other expectations are ignored, as RFC 9110 §10.1.1 allows."""
