"""What operations have in common: headers of requests and answers, and the words before them all."""

from typing import Any, Final

ABOUT: Final = """\
Face recognition for doors: register a company, enrol its people's faces, ask "who is this?".

Times are RFC 3339 in UTC, ids are UUIDs, percentages are 0 to 100. The company comes from the credential;
what belongs to somebody else is answered as if it weren't there.

A photo is JPEG or PNG, told by its bytes, as `multipart/form-data` or as base64 in JSON. What is done with it
is a job: the call waits for its result, or answers 202 with the job to ask after, as `Prefer` asks.

Errors are `application/problem+json` (RFC 9457) with a stable `code`, explained at `/problems/{code}`. Lists
come newest first; `next_cursor`, and the `Link` header with it, lead on. What answers GET answers HEAD.
Answers may get new members: pass over those that you don't know."""

_CORRELATION_ID: Final = {"type": "string", "pattern": "^[!-~]{1,128}$"}

PARAMETERS: Final[dict[str, Any]] = {
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": (
            "How long to wait for the job (RFC 7240): `wait=N` for N seconds, `respond-async` not at all."
        ),
        "schema": {"type": "string"},
        "examples": {
            "wait": {"summary": "Wait for 30 seconds", "value": "wait=30"},
            "respond_async": {"summary": "Answer 202 at once", "value": "respond-async"},
        },
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": (
            "Any text of yours, kept for 24 hours: the same request under it is done once and "
            "answered as the first time."
        ),
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "examples": {"uuid": {"value": "6f1c2b9e-8f2e-4a83-9b8e-0a4f1d3c5e7a"}},
    },
    "X-Correlation-ID": {
        "name": "X-Correlation-ID",
        "in": "header",
        "description": "Stands in the answer, the job, and every log entry and event; made if left out.",
        "schema": _CORRELATION_ID,
        "examples": {"order": {"value": "door-7-0001"}},
    },
}

HEADERS: Final[dict[str, Any]] = {
    "X-Correlation-ID": {
        "description": "What the request had, or what was made for it.",
        "required": True,
        "schema": _CORRELATION_ID,
    },
    "Location": {
        "description": "Where what was made, or the job, can be read.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {
        "description": "Seconds after which to ask again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Preference-Applied": {
        "description": "Which preference of `Prefer` was followed; not there if none was.",
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "`true` where this is the answer that the same request had before.",
        "schema": {"type": "string", "const": "true"},
    },
    "Link": {
        "description": 'The next page, `<…>; rel="next"` (RFC 8288); not there on the last.',
        "schema": {"type": "string"},
    },
    "ETag": {"description": "The version of what is answered.", "schema": {"type": "string"}},
    "WWW-Authenticate": {
        "description": "Which credential is asked for (RFC 6750).",
        "required": True,
        "schema": {"type": "string"},
    },
}
