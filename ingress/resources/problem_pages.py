"""What a problem's `type` leads to: GET /problems/{code}."""

from html import escape
from typing import Final

from aiohttp import hdrs, web

from ingress.answers import json_response
from ingress.calls import Call
from schemas.api.service import ProblemPage
from schemas.problems import PROBLEM_TYPES, ProblemError, ProblemType

_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{code}</title></head>
<body><h1>{title}</h1><p><code>{code}</code>, HTTP status {status}</p><p>{remedy}</p></body>
</html>
"""


async def show(call: Call, _: None) -> web.Response:
    """The meaning of a code and what to do: HTML, or JSON for who accepts only that."""
    kind = PROBLEM_TYPES.get(call.request.match_info["code"])
    if kind is None:
        raise ProblemError("not_found")
    response = _json(kind) if _wants_json(call.request) else _html(kind)
    response.headers[hdrs.CACHE_CONTROL] = "public, max-age=3600"
    response.headers[hdrs.VARY] = hdrs.ACCEPT
    return response


def _wants_json(request: web.Request) -> bool:
    accepted = request.headers.get(hdrs.ACCEPT, "")
    return "json" in accepted and "text/html" not in accepted


def _json(kind: ProblemType) -> web.Response:
    return json_response(
        ProblemPage(code=kind.code, status=kind.status, title=kind.title, remedy=kind.remedy)
    )


def _html(kind: ProblemType) -> web.Response:
    text = _PAGE.format(
        code=escape(kind.code), title=escape(kind.title), status=kind.status, remedy=escape(kind.remedy)
    )
    response = web.Response(text=text, content_type="text/html")
    response.headers["Content-Security-Policy"] = "default-src 'none'"
    return response
