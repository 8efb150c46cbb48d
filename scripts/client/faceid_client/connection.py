"""Calls of one server: its trust, its credential, and what is tried again."""

import asyncio
import json as json_text
import os
import ssl
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

from faceid_client.errors import ApiError, ConnectionLost, FaceIdError, NotReachable, NotTrusted

Photo = bytes | str | PathLike[str]
"""A JPEG or PNG: its bytes, or the path of its file."""

_SENT_ONCE: Final = {"/login", "/token/refresh", "/logout"}
_FIRST_PAUSE_S: Final = 0.5
_NOT_DONE: Final = 300
_OTHER: Final = "Is it a FaceID server?"


@dataclass(frozen=True)
class Reply:
    """An answer. The body is what the JSON says, bytes where it is no JSON, and None where there is none."""

    status: int
    headers: Mapping[str, str]
    body: Any = field(repr=False)


class Connection:
    """Kept-alive HTTPS to one server. `ca_file` is the only authority trusted; without it, the system's are.

    Without an address, address, authority and key are those of FACEID_URL, FACEID_CA_FILE and FACEID_API_KEY.
    `timeout_s` bounds one attempt, beside what the server was asked to wait; `retry_for_s` bounds all pauses
    between attempts at one call.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        ca_file: str | PathLike[str] | None = None,
        api_key: str | None = None,
        timeout_s: float = 30,
        retry_for_s: float = 30,
    ) -> None:
        if url is None:
            url = os.environ.get("FACEID_URL", "")
            ca_file = ca_file or os.environ.get("FACEID_CA_FILE")
            api_key = api_key or os.environ.get("FACEID_API_KEY")
        if not url.startswith("https://"):
            raise NotReachable(f"The address must begin with https://, unlike {url or 'FACEID_URL, unset'}")
        try:
            self._trust = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise NotTrusted(f"{ca_file} is not a certificate that can be read.") from error
        self.url, self._api_key = url.rstrip("/"), api_key
        self.token: str | None = None
        self.refresh_token: str | None = None
        self._timeout_s, self._retry_for_s = timeout_s, retry_for_s
        self._http: aiohttp.ClientSession | None = None
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        photo: Photo | Mapping[str, Photo] | None = None,
        fields: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        wait_s: float = 0,
    ) -> Reply:
        """One attempt at a call, with the credential; whatever its status, the reply. A photo (`image`), or
        several by their names, go as `multipart/form-data` with `fields`. Raises NotReachable."""
        data = await asyncio.to_thread(_form, photo, fields or {}) if photo is not None else None
        timeout = aiohttp.ClientTimeout(total=self._timeout_s + wait_s)
        try:
            async with self._session().request(
                method,
                f"{self.url}{path}",
                json=json,
                data=data,
                headers={**self._credential(), **(headers or {})},
                params=params,
                timeout=timeout,
                allow_redirects=False,  # a credential is for this server and no other
            ) as response:
                content = await response.read()
                if content and response.content_type.endswith(("/json", "+json")):
                    return Reply(response.status, response.headers, json_text.loads(content))
                return Reply(response.status, response.headers, content or None)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise NotTrusted(f"The certificate of {self.url} is not trusted.") from error
        except aiohttp.ClientConnectorError as error:
            raise NotReachable(f"No server answers at {self.url}: {error.strerror or error}") from error
        except aiohttp.InvalidURL as error:
            raise NotReachable(f"{self.url} is no address.") from error
        except TimeoutError as error:
            raise NotReachable(f"{self.url} did not answer within {timeout.total:g} s") from error
        except aiohttp.ClientError as error:
            raise ConnectionLost(f"The connection to {self.url} was lost before the answer") from error
        except ValueError as error:
            raise FaceIdError(f"{self.url} answers what is no JSON. {_OTHER}") from error

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **content: Any
    ) -> Reply:
        """A call that must succeed; raises ApiError for a refusal.

        An expired token is renewed. 429, 503, an answer that is still being made and a lost connection are
        tried again after a pause, under one Idempotency-Key, so that what was done already is not done twice.
        """
        sent = dict(headers or {})
        if method == "POST" and path not in _SENT_ONCE:
            sent["Idempotency-Key"] = str(uuid.uuid4())
        until_s = time.monotonic() + (0 if path in _SENT_ONCE else self._retry_for_s)
        pause_s, renewed = _FIRST_PAUSE_S, False
        while True:
            token = self.token
            try:
                return _done(await self.call(method, path, headers=sent, **content))
            except (ApiError, ConnectionLost) as error:
                if error.code == "token_expired" and not renewed and await self._renewed(token):
                    renewed = True
                    continue
                advised_s = max(pause_s, error.retry_after_s)
                if time.monotonic() + advised_s > until_s:
                    raise
            await asyncio.sleep(advised_s)
            pause_s *= 2

    async def renew(self) -> bool:
        """Fetch a new access token for the refresh token; answers whether there is one now."""
        if self.refresh_token is None:
            return False
        # Never sent twice: the server takes a second use for a thief's.
        reply = await self.call("POST", "/token/refresh", json={"refresh_token": self.refresh_token})
        if reply.status == 200:
            self._take(reply)
        return reply.status == 200

    def _take(self, reply: Reply) -> None:
        """Use the tokens of a log-in from now on."""
        self._api_key = None
        self.token, self.refresh_token = reply.body["access_token"], reply.body["refresh_token"]

    async def _renewed(self, used: str | None) -> bool:
        """Whether there is another token than the one that was used: one is fetched for all calls at once."""
        async with self._renewing:
            return self.token != used or await self.renew()

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._trust))
        return self._http

    def _credential(self) -> dict[str, str]:
        if self._api_key is not None:
            return {"X-API-Key": self._api_key}
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}


def _done(reply: Reply) -> Reply:
    if reply.status >= _NOT_DONE:
        raise ApiError(reply.status, reply.headers, reply.body)
    if "X-Correlation-ID" not in reply.headers:
        raise FaceIdError(f"The server answers without a correlation id. {_OTHER}")
    return reply


def _form(photo: Photo | Mapping[str, Photo], fields: Mapping[str, object]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, one in photo.items() if isinstance(photo, Mapping) else (("image", photo),):
        content = one if isinstance(one, bytes) else Path(one).read_bytes()
        form.add_field(name, content, filename=name, content_type="application/octet-stream")
    for name, value in fields.items():
        form.add_field(name, value if isinstance(value, str) else json_text.dumps(value))
    return form
