"""For whoever watches the service: GET /healthz and GET /readyz."""

from aiohttp import hdrs, web

from ingress.answers import json_response
from ingress.calls import Call
from ingress.errors import RETRY_AFTER_S
from schemas.api.service import HealthAnswer, ReadinessAnswer


async def alive(_call: Call, _: None) -> web.Response:
    """200 for as long as the event loop turns."""
    return json_response(HealthAnswer())


async def ready(call: Call, _: None) -> web.Response:
    """Whether requests can be served: 200, or 503 with what is not ready."""
    state = await call.parts.readiness.state()
    answer = ReadinessAnswer(ready=state.ready, parts=dict(state.parts), engines=list(state.engines))
    response = json_response(answer, status=200 if state.ready else 503)
    if not state.ready:
        response.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
    return response
