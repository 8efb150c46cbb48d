"""A thin HTTPS client of the service, for the demonstration, the benchmarks and the tests."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp


@dataclass(frozen=True)
class Reply:
    """An answer: status, headers, and the body as JSON (None when there is none)."""

    status: int
    headers: Mapping[str, str]
    body: Any


class ApiClient:
    """Calls of one server over kept-alive TLS, trusting one certificate authority and no other."""

    def __init__(self, url: str, ca_file: Path, *, timeout_s: float = 60) -> None:
        context = ssl.create_default_context(cafile=str(ca_file))
        self._session = aiohttp.ClientSession(
            base_url=url,
            connector=aiohttp.TCPConnector(ssl=context, limit=32),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        )
        self.token: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        photo: bytes | None = None,
        fields: Mapping[str, str | list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        """One call, with the token if there is one. A photo goes as `multipart/form-data`, with its
        fields."""
        sent = dict(headers or {})
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        data = _form(photo, fields or {}) if photo is not None else None
        async with self._session.request(
            method, path, json=json, data=data, headers=sent, params=params
        ) as response:
            text = await response.text()
            body = await response.json(content_type=None) if text else None
            return Reply(response.status, response.headers, body)

    async def log_in(self, email: str, password: str) -> Reply:
        """Log in and use the token from now on."""
        reply = await self.call("POST", "/login", json={"email": email, "password": password})
        if reply.status == 200:
            self.token = reply.body["access_token"]
        return reply


def _form(photo: bytes, fields: Mapping[str, str | list[str]]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("image", photo, filename="photo.jpg", content_type="image/jpeg")
    for name, value in fields.items():
        for item in [value] if isinstance(value, str) else value:
            form.add_field(name, item)
    return form
