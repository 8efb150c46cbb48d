"""What can go wrong with a call. `str()` of each is fit to be shown to a person."""

from collections.abc import Mapping
from math import inf
from typing import Any, Final, Self, cast

from faceid_client.shapes import Job

_MAY_PASS: Final = {429, 503}


class FaceIdError(Exception):
    """The base of everything that the client raises."""


class NotReachable(FaceIdError):
    """There is no server at the address, or none that answers in time."""


class ConnectionLost(NotReachable):
    """The connection ended before the answer; whether the call was carried out is not known."""

    code, retry_after_s = "connection_lost", 0.0


class NotTrusted(NotReachable):
    """The server's certificate is not signed by the authority that is trusted, or is not for this address."""


class JobPending(FaceIdError):
    """The job was accepted and goes on, but did not end while it was waited for. `job` waits on."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"The job {job_id} was accepted and has not ended yet.")
        self.job_id = job_id


class ApiError(FaceIdError):
    """The server refused: its problem document (RFC 9457), its status, and its headers' advice.

    `code` is stable and explained at `/problems/{code}`; `errors` are the fields that are wrong, each with
    `field` and `message`; `retry_after_s` is infinite where trying again does not help.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        problem = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
        self.status, self.problem = status, problem
        self.code: str = problem.get("code", f"http_{status}")
        self.title: str = problem.get("title", f"The server answered with status {status}")
        self.detail: str = problem.get("detail", "")
        self.errors: list[dict[str, str]] = problem.get("errors") or []
        self.job_id: str | None = problem.get("job_id")
        self.correlation_id: str | None = problem.get("correlation_id") or headers.get("X-Correlation-ID")
        may_pass = status in _MAY_PASS or self.code == "idempotency_in_progress"
        after = headers.get("Retry-After", "")
        pause_s = float(after) if after.isascii() and after.isdigit() else 0.0
        self.retry_after_s = pause_s if may_pass else inf
        super().__init__(f"{self.title} ({self.code}). {self.detail}".strip())

    @classmethod
    def of_job(cls, job: Job) -> Self:
        """What became of a job that did not succeed."""
        problem = job["problem"] or {"code": f"job_{job['state']}", "title": "The job was not done"}
        known = {"job_id": job["job_id"], "correlation_id": job["correlation_id"]}
        return cls(problem.get("status", 500), {}, {**known, **problem})
