"""What the service says of itself: health, readiness, and what its problems mean."""

from typing import Literal

from schemas.api.base import Answer
from schemas.recognition import Engine


class HealthAnswer(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadinessAnswer(Answer):
    """Whether requests can be served, and the state of each part: `ready`, or what it is instead."""

    ready: bool
    parts: dict[str, str]
    """`ready`, or what it is instead, by part."""
    engines: list[Engine]
    """What the workers that answer compute templates with, each once."""


class ProblemOperation(Answer):
    """An operation that may answer with a problem."""

    method: str
    path: str
    operation_id: str
    """Its name in the OpenAPI document."""


class ProblemPage(Answer):
    """What a code means, what to do about it, and which operations answer with it."""

    code: str
    status: int
    title: str
    """What the code means."""
    remedy: str
    """What to do about it."""
    operations: list[ProblemOperation]


class ProblemPages(Answer):
    """Every code that there is."""

    items: list[ProblemPage]
