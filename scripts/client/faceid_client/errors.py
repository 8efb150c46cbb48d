"""What can go wrong with a call. `str()` of each is fit to be shown to a person."""

from collections.abc import Mapping
from typing import Any, cast


class FaceIdError(Exception):
    """The base of everything that the client raises."""


class NotReachable(FaceIdError):
    """There is no server at the address, or none that answers in time."""


class ConnectionLost(NotReachable):
    """The connection ended before the answer; whether the call was carried out is not known."""

    code = "connection_lost"


class NotTrusted(NotReachable):
    """The server's certificate is not signed by the authority that is trusted, or is not for this address."""


class NotLoggedIn(FaceIdError):
    """There is no credential: neither a profile that `faceid login` kept nor FACEID_API_KEY."""


class JobPending(FaceIdError):
    """The job was accepted and goes on, but did not end while it was waited for. `job` waits on."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"The job {job_id} was accepted and has not ended yet.")
        self.job_id = job_id


class ApiError(FaceIdError):
    """The server refused: its problem document (RFC 9457), its status, and its headers' advice.

    `code` is stable and explained at `/problems/{code}`; `errors` are the fields that are wrong, each with
    `field` and `message`; `retry_after_s` is None where waiting does not help.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        problem = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
        self.status = status
        self.code: str = problem.get("code", f"http_{status}")
        self.title: str = problem.get("title", f"The server answered with status {status}")
        self.detail: str = problem.get("detail", "")
        self.errors: list[dict[str, str]] = problem.get("errors") or []
        self.job_id: str | None = problem.get("job_id")
        self.user_id: str | None = problem.get("user_id")
        self.correlation_id: str | None = problem.get("correlation_id") or headers.get("X-Correlation-ID")
        after = headers.get("Retry-After", "")
        self.retry_after_s = float(after) if after.isascii() and after.isdigit() else None
        self.problem = problem
        super().__init__(f"{self.title} ({self.code}). {self.detail}".strip())
