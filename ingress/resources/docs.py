"""What the API says of itself: GET /openapi.json, /docs, /problems and /problems/{code}."""

from aiohttp import web

from ingress.calls import Call
from schemas.problems import ProblemError


async def openapi(call: Call, _: None) -> web.Response:
    """This API as an OpenAPI 3.1 document, for programs."""
    return call.parts.pages.openapi.answer(call.request)


async def docs(call: Call, _: None) -> web.Response:
    """This API as a page, for people."""
    return call.parts.pages.docs.answer(call.request)


async def problems(call: Call, _: None) -> web.Response:
    """All codes of problems: HTML, or JSON for who accepts only that."""
    return call.parts.pages.problems.answer(call.request)


async def problem(call: Call, _: None) -> web.Response:
    """The meaning of a code and what to do: HTML, or JSON for who accepts only that."""
    choice = call.parts.pages.problem_by_code.get(call.request.match_info["code"])
    if choice is None:
        raise ProblemError("not_found")
    return choice.answer(call.request)
