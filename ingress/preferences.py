"""The Prefer header (RFC 7240): how long a client wants to be kept waiting for its job."""

import re
from dataclasses import dataclass
from typing import Final, Self

from aiohttp import web

_PREFERENCE: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
"""Up to the next comma, but for those inside quotation marks."""

_WAIT: Final = re.compile(r'([0-9]{1,9})|"([0-9]{1,9})"')

_MAX_CHARS: Final = 1024
"""What lies beyond is not looked at: nobody prefers so much."""


@dataclass(frozen=True)
class Preference:
    """For how long to hold, and which of the client's preferences that follows (None if it had none)."""

    wait_s: float
    applied: str | None

    @classmethod
    def of(cls, request: web.Request, *, default_s: float, max_s: float) -> Self:
        """`wait=N` holds for N seconds (not above `max_s`), `respond-async` not at all; with both, N seconds.

        What is not understood is ignored, as the RFC asks; of a preference given twice the first counts.
        """
        given: dict[str, str] = {}
        for preference in _PREFERENCE.findall(",".join(request.headers.getall("Prefer", []))[:_MAX_CHARS]):
            name, _, value = preference.partition(";")[0].partition("=")
            given.setdefault(name.strip().lower(), value.strip())
        wait = _WAIT.fullmatch(given.get("wait", ""))
        respond_async = "respond-async" in given
        if wait is None:
            return cls(0, "respond-async") if respond_async else cls(default_s, None)
        wait_s = min(int(wait[1] or wait[2]), int(max_s))
        return cls(wait_s, f"respond-async, wait={wait_s}" if respond_async else f"wait={wait_s}")
