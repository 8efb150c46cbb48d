"""Every error that leaves: problem+json of our own words, whatever went wrong."""

from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from infra.broker.delivery import STORE_DOWN
from infra.crypto.passwords import PasswordsBusy
from infra.documents.port import UnfitPosition
from infra.keys.errors import CompanyKeyGone, KeyFault
from infra.telemetry import get_logger
from schemas.problems import ProblemError

PROBLEM_CODE: Final = web.ResponseKey("problem_code", str)
"""Under this an answer that tells of a problem has its code, for whoever counts them."""

_log = get_logger(__name__)

RETRY_AFTER_S: Final = 2
"""When to come back to a service that could not answer."""

_RETRY_AFTER_S_BY_CODE: Final = {"idempotency_in_progress": 1, "too_many_exports": 10, "company_paused": 60}

_NOT_NOW: Final = (*STORE_DOWN, PasswordsBusy)

_CODES_BY_STATUS: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def problem_response(problem: ProblemError, correlation_id: str) -> web.Response:
    """The answer that tells of a problem."""
    response = web.Response(
        status=problem.type.status,
        body=problem.problem(correlation_id).model_dump_json(exclude_none=True).encode(),
        content_type="application/problem+json",
    )
    response[PROBLEM_CODE] = problem.code
    if problem.type.status == 401:
        # RFC 6750 §3: the error attribute only for a token that was sent and does not do.
        refused = problem.code in {"invalid_token", "token_expired"}
        response.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer error="invalid_token"' if refused else "Bearer"
    if problem.type.status == 503:
        response.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
    retry_after_s = problem.retry_after_s or _RETRY_AFTER_S_BY_CODE.get(problem.code)
    if retry_after_s is not None:
        response.headers[hdrs.RETRY_AFTER] = str(retry_after_s)
    return response


async def answer_or_problem(
    request: web.Request, handler: Handler, correlation_id: str
) -> web.StreamResponse:
    """The handler's answer, or the problem that it met. Only cancellation passes through."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        response = problem_response(_of_framework(refusal), correlation_id)
        if hdrs.ALLOW in refusal.headers:
            response.headers[hdrs.ALLOW] = refusal.headers[hdrs.ALLOW]
        return response
    except Exception as error:  # noqa: BLE001 - whatever it was, the client reads our words, the log the rest
        return problem_response(_problem_of(error), correlation_id)


def _of_framework(refusal: web.HTTPException) -> ProblemError:
    if refusal.status in _CODES_BY_STATUS:
        return ProblemError(_CODES_BY_STATUS[refusal.status])
    return ProblemError("malformed_request" if refusal.status < 500 else "internal")


def _problem_of(error: Exception) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case CompanyKeyGone():
            return ProblemError("invalid_token")  # Whoever held it belonged to a company that was deleted.
        case UnfitPosition():
            return ProblemError("invalid_cursor")  # Its digest needs no key: somebody has made it up.
        case _ if isinstance(error, _NOT_NOW):
            _log.warning("store_unavailable", exc_info=error)
            return ProblemError("unavailable")
        case KeyFault():
            _log.error("keys_unusable", exc_info=error)
            return ProblemError("unavailable")
        case _:
            _log.error("request_failed", exc_info=error)
            return ProblemError("internal")
