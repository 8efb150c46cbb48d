"""Around every request: its correlation id, its line in the log, and headers that every answer has."""

import re
from typing import Final
from uuid import UUID

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from infra.clock import Clock, Entropy
from infra.metric_table import REFUSED, REQUEST_SECONDS, REQUESTS
from infra.metrics import Metrics
from infra.telemetry import get_logger, log_context
from infra.tracing import Tracing
from ingress.errors import PROBLEM_CODE, answer_or_problem, problem_response
from schemas.ids import new_id
from schemas.problems import ProblemError

CORRELATION_HEADER: Final = "X-Correlation-ID"
CORRELATION_ID: Final = web.RequestKey("correlation_id", str)
COMPANY_ID: Final = web.RequestKey("company_id", UUID)
"""Set once the company is known, for the log line."""

SERVER_NAME: Final = "faceid"

_log = get_logger(__name__)

_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]{1,128}")


class Observer:
    """Has the outermost middleware, `observe`. Paths hold ids, so it logs their pattern, and no query."""

    def __init__(self, clock: Clock, entropy: Entropy, metrics: Metrics, tracing: Tracing) -> None:
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._tracing = tracing

    @web.middleware
    async def observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started_s = self._clock.monotonic_s()
        given = request.headers.getall(CORRELATION_HEADER, [])
        acceptable = len(given) == 1 and _VISIBLE_ASCII.fullmatch(given[0]) is not None
        correlation_id = given[0] if acceptable else str(new_id(self._clock.now(), self._entropy))
        request[CORRELATION_ID] = correlation_id
        with log_context(correlation_id=correlation_id):
            if given and not acceptable:
                response: web.StreamResponse = problem_response(
                    ProblemError("invalid_correlation_id"), correlation_id
                )
            else:
                # A client's own `traceparent` is not gone by: it would decide what is collected.
                with self._tracing.span(f"{_method(request)} {_pattern(request)}"):
                    response = await answer_or_problem(request, handler, correlation_id)
                    self._tracing.note(**{"http.response.status_code": response.status})
            duration_s = self._clock.monotonic_s() - started_s
            self._count(request, response, duration_s)
            with log_context(company_id=request.get(COMPANY_ID)):
                _log.info(
                    "request_answered",
                    method=_method(request),
                    route=_pattern(request),
                    status=response.status,
                    duration_ms=round(duration_s * 1000, 1),
                )
        add_common_headers(response, correlation_id)
        return response

    def _count(self, request: web.Request, response: web.StreamResponse, duration_s: float) -> None:
        route = _pattern(request)
        self._metrics.count(REQUESTS, _method(request), route, str(response.status))
        self._metrics.observe(REQUEST_SECONDS, duration_s, route)
        code = response.get(PROBLEM_CODE)
        if code is not None:
            self._metrics.count(REFUSED, code)


def add_common_headers(response: web.StreamResponse, correlation_id: str) -> None:
    """What stands on every answer. Nothing of it may be kept by a cache unless the answer says so."""
    response.headers[CORRELATION_HEADER] = correlation_id
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers[hdrs.SERVER] = SERVER_NAME


def _method(request: web.Request) -> str:
    """Of what a client makes up there is no end, in a log line or a label."""
    return request.method if request.method in hdrs.METH_ALL else "other"


def _pattern(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"
