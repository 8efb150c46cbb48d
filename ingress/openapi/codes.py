"""Which problems an operation may answer with, from what its route says of itself."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from infra.broker.topics import SEARCH
from ingress.describing import InputDescription
from ingress.routing import Route
from schemas.jobs import JobKind
from schemas.problem_types import PROBLEM_TYPES, ProblemType

_EVERYWHERE: Final = ("invalid_correlation_id", "malformed_request", "internal", "unavailable")
_OF_CREDENTIALS: Final = (
    "unauthenticated",
    "ambiguous_credentials",
    "invalid_token",
    "token_expired",
    "invalid_api_key",
)
_OF_IDEMPOTENCY: Final = ("invalid_idempotency_key", "idempotency_key_reused", "idempotency_in_progress")
_OF_JOBS: Final = ("job_failed", "job_expired", "job_superseded")

_OF_FACES: Final = (
    "corrupt_image",
    "no_face",
    "face_too_small",
    "low_detection_confidence",
    "extreme_pose",
    "low_sharpness",
    "low_brightness",
    "overexposed",
    "low_template_quality",
    "image_too_costly",
)
_OF_ATTEMPTS: Final[Mapping[JobKind, tuple[str, ...]]] = {
    JobKind.SEARCH: (*_OF_FACES, "too_many_faces"),
    JobKind.VERIFY: (*_OF_FACES, "user_without_faces", "user_not_valid"),
    JobKind.ENROLL: (
        *_OF_FACES,
        "multiple_faces",
        "duplicate_face",
        "face_mismatch",
        "reference_mismatch",
        "consent_required",
        "user_not_valid",
        "too_many_faces_for_user",
    ),
}
"""What the workers end each kind of attempt with."""

BEFORE_ANY_OPERATION: Final = frozenset({"method_not_allowed"})
"""Codes that no operation has: the request found none."""


def problems_of(route: Route[Any], described: InputDescription) -> dict[int, list[ProblemType]]:
    """The problems that a route may answer with, by status."""
    codes = {*_EVERYWHERE, *described.codes, *route.problems, *_of_caller(route), *_of_work(route)}
    if "{" in route.path:
        codes.add("not_found")
    unknown = codes - PROBLEM_TYPES.keys()
    if unknown:
        raise ValueError(f"{route.method} {route.path} names unknown codes: {', '.join(sorted(unknown))}")
    by_status: dict[int, list[ProblemType]] = {}
    for kind in PROBLEM_TYPES.values():  # In the order of the table, the general ones first.
        if kind.code in codes:
            by_status.setdefault(kind.status, []).append(kind)
    return dict(sorted(by_status.items()))


def _of_caller(route: Route[Any]) -> Iterator[str]:
    if not route.public or route.scope is not None:
        yield from _OF_CREDENTIALS
    if route.scope is not None:
        yield "forbidden"


def _of_work(route: Route[Any]) -> Iterator[str]:
    if route.idempotent:
        yield from _OF_IDEMPOTENCY
    if route.answers_secret:
        yield "secret_already_shown"
    if makes_job(route):
        yield from _OF_JOBS
    if route.queue is not None:
        yield "company_paused"
    if route.queue is SEARCH:
        yield "overloaded"
    if route.attempt is not None:
        yield from _OF_ATTEMPTS[route.attempt]


def makes_job(route: Route[Any]) -> bool:
    """Whether a call may be answered with 202 and a job to ask after: then it can wait for it, too."""
    return 202 in route.answers
