"""A problem on its way to a client: raised as an error, told in a body (RFC 9457)."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from schemas.problem_types import PROBLEM_TYPES


class FieldError(BaseModel):
    """What is wrong with one field: `field` is its path, dots between the parts."""

    field: str
    message: str


class Problem(BaseModel):
    """The body of every error answer, `application/problem+json` (RFC 9457)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """Where the code is explained."""
    title: str
    """What the code means, in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What is wrong this time, and what to do about it."""
    code: str
    """Stable: what a program goes by."""
    errors: list[FieldError] | None = None
    """Which fields are wrong."""
    id: str | None = None
    """What the problem is about, where it has an id that the client may know."""
    job_id: str | None = None
    """The job that ended so, or that is still running."""
    user_id: str | None = None
    """Whom the problem is about; only for those who may read users."""
    correlation_id: str | None = None
    """What to give the operator."""


class ProblemError(Exception):
    """Raised wherever a client's request cannot be met; carries only what the client may read."""

    def __init__(self, code: str, detail: str | None = None, **extra: Any) -> None:
        super().__init__(code)
        self.type = PROBLEM_TYPES[code]
        self.detail = detail or self.type.remedy
        self.retry_after_s: int | None = None
        """When to come back, where that is known better than by the code."""
        self.extra = extra

    def after(self, seconds: int) -> "ProblemError":
        """The same problem, with when to come back."""
        self.retry_after_s = seconds
        return self

    def about(self, field: str) -> "ProblemError":
        """The same problem, said of one of a request's several photos."""
        errors = [FieldError(field=field, message=self.type.title)]
        return ProblemError(self.code, f"{field}: {self.detail}", **{**self.extra, "errors": errors})

    @property
    def code(self) -> str:
        return self.type.code

    def problem(self, correlation_id: str | None = None) -> Problem:
        return Problem(
            type=f"/problems/{self.code}",
            title=self.type.title,
            status=self.type.status,
            detail=self.detail,
            code=self.code,
            correlation_id=correlation_id,
            **self.extra,
        )
