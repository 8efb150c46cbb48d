"""What the service says of itself: health, readiness, and what its problems mean."""

from typing import Literal

from pydantic import BaseModel


class HealthAnswer(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadinessAnswer(BaseModel):
    """Whether requests can be served, and the state of each part: `ready`, or what it is instead."""

    ready: bool
    parts: dict[str, str]


class ProblemPage(BaseModel):
    """What a code means and what to do about it."""

    code: str
    status: int
    title: str
    remedy: str
