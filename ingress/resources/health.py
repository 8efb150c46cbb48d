"""For whoever watches the service: GET /healthz and GET /readyz."""

from aiohttp import hdrs, web

from ingress.answers import json_response
from ingress.calls import Call
from ingress.errors import RETRY_AFTER_S
from ingress.readiness import READY
from schemas.api.service import HealthAnswer, ReadinessAnswer


async def alive(_call: Call, _: None) -> web.Response:
    """200 for as long as the event loop turns."""
    return json_response(HealthAnswer())


async def ready(call: Call, _: None) -> web.Response:
    """Whether requests can be served: 200, or 503 with what is not ready."""
    parts = dict(await call.parts.readiness.parts())
    is_ready = all(state == READY for state in parts.values())
    response = json_response(ReadinessAnswer(ready=is_ready, parts=parts), status=200 if is_ready else 503)
    if not is_ready:
        response.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
    return response
