"""Pages that are made once, when the ingress starts, and served as they are."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import hdrs, web

_CACHE_CONTROL: Final = "public, max-age=300"


@dataclass(frozen=True)
class Page:
    """A body with its strong ETag. `policy` is the Content-Security-Policy of one that a browser shows."""

    content: bytes
    content_type: str
    policy: str | None = None
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", hashlib.sha256(self.content).hexdigest()[:32])

    def answer(self, request: web.Request) -> web.Response:
        """The page, or 304 to whoever has it already (RFC 9110 §13.1.2)."""
        if any(known.value in {self.etag, "*"} for known in request.if_none_match or ()):
            response = web.Response(status=304)
        else:
            charset = "utf-8" if self.content_type.startswith("text/") else None
            response = web.Response(body=self.content, content_type=self.content_type, charset=charset)
            if self.policy is not None:
                response.headers["Content-Security-Policy"] = self.policy
        response.headers[hdrs.ETAG] = f'"{self.etag}"'
        response.headers[hdrs.CACHE_CONTROL] = _CACHE_CONTROL
        return response


@dataclass(frozen=True)
class Choice:
    """The same for people and for programs."""

    html: Page
    json: Page

    def answer(self, request: web.Request) -> web.Response:
        """HTML, or JSON for who accepts only that."""
        accepted = request.headers.get(hdrs.ACCEPT, "")
        only_json = "json" in accepted and "text/html" not in accepted
        response = (self.json if only_json else self.html).answer(request)
        response.headers[hdrs.VARY] = hdrs.ACCEPT
        return response


@dataclass(frozen=True)
class Pages:
    """What the API says of itself."""

    openapi: Page
    docs: Page
    problems: Choice
    problem_by_code: Mapping[str, Choice]
