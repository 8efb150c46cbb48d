"""Calls of one server: its trust, its credential, and what is tried again."""

import asyncio
import json as json_text
import math
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

import aiohttp

from faceid_client.errors import ApiError, ConnectionLost, NotReachable, NotTrusted
from faceid_client.profiles import Profile, locked

Photo = bytes | str | PathLike[str]
"""A JPEG or PNG: its bytes, or the path of its file."""

_SENT_ONCE: Final = {"/login", "/token/refresh", "/logout"}
_PIECE_BYTES: Final = 2**16
_FIRST_PAUSE_S: Final = 0.5
_WORTH_A_PAUSE: Final = {429, 503}


@dataclass(frozen=True)
class Reply:
    """An answer: status, headers, and the body as JSON (None when there is none)."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Connection:
    """Kept-alive HTTPS to one server. `ca_file` is the only authority trusted; without it, the system's are.

    `timeout_s` bounds one attempt, beside what the server was asked to wait; `retry_for_s` bounds all pauses
    between attempts at one call.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_file: str | PathLike[str] | None = None,
        api_key: str | None = None,
        token: str | None = None,
        refresh_token: str | None = None,
        timeout_s: float = 30,
        retry_for_s: float = 30,
    ) -> None:
        if not url.startswith("https://"):
            raise NotReachable(f"The address must begin with https://, unlike {url}")
        self.url, self._ca_file = url.rstrip("/"), ca_file
        self._api_key = api_key
        self.token: str | None = token
        self.refresh_token: str | None = refresh_token
        self._timeout_s, self._retry_for_s = timeout_s, retry_for_s
        self._profile: Profile | None = None
        self._http: aiohttp.ClientSession | None = None
        self._refreshing = asyncio.Lock()

    @classmethod
    def from_profile(
        cls,
        name: str | None = None,
        *,
        url: str | None = None,
        ca_file: str | None = None,
        timeout_s: float = 30,
        retry_for_s: float = 30,
    ) -> Self:
        """As `faceid login` left it, or as FACEID_URL, FACEID_CA_FILE and FACEID_API_KEY say, or as is given
        here."""
        kept = Profile.find(name, url=url, ca_file=ca_file)
        connection = cls(
            kept.url,
            ca_file=kept.ca_file,
            api_key=kept.api_key,
            token=kept.access_token,
            refresh_token=kept.refresh_token,
            timeout_s=timeout_s,
            retry_for_s=retry_for_s,
        )
        connection._profile = kept if kept.refresh_token else None
        return connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        """One attempt at a call, with the credential; whatever its status, the reply. A photo
        (`image`), or several by their names, go as `multipart/form-data` with `fields`. Raises
        NotReachable."""
        sent = {**self._credential(), **(headers or {})}
        data = _form(photo, fields or {}) if photo is not None else None
        timeout = aiohttp.ClientTimeout(total=self._timeout_s + wait_s)
        try:
            async with self._session().request(
                method,
                f"{self.url}{path}",
                json=json,
                data=data,
                headers=sent,
                params=params,
                timeout=timeout,
                allow_redirects=False,  # a credential is for this server and no other
            ) as response:
                text = await response.text()
                return Reply(response.status, response.headers, _body(text))
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise NotTrusted(f"The certificate of {self.url} is not trusted.") from error
        except aiohttp.ClientConnectorError as error:
            raise NotReachable(f"No server answers at {self.url}: {error.strerror or error}") from error
        except TimeoutError as error:
            raise NotReachable(f"{self.url} did not answer within {timeout.total:g} s") from error
        except aiohttp.ClientError as error:
            raise ConnectionLost(f"The connection to {self.url} was lost before the answer") from error

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **content: Any
    ) -> Reply:
        """A call that must succeed; raises ApiError for a refusal.

        An expired token is refreshed. 429, 503, an answer that is still being made and a lost connection are
        tried again after a pause, under one Idempotency-Key, so that what was done already is not done twice.
        """
        sent = dict(headers or {})
        if method == "POST" and path not in _SENT_ONCE:
            sent["Idempotency-Key"] = str(uuid.uuid4())
        until_s = time.monotonic() + self._retry_for_s
        refreshed = False
        for attempt in count():
            token = self.token
            try:
                reply = await self.call(method, path, headers=sent, **content)
                if reply.status < 300:
                    return reply
                error: ApiError | ConnectionLost = ApiError(reply.status, reply.headers, reply.body)
            except ConnectionLost as lost:
                error = lost
            if not refreshed and error.code == "token_expired":
                refreshed = await self._refresh(token)
                if refreshed:
                    continue
            pause_s = max(_advised_pause_s(error), _FIRST_PAUSE_S * 2**attempt)
            if path in _SENT_ONCE or time.monotonic() + pause_s > until_s:
                raise error
            await asyncio.sleep(pause_s)
        raise AssertionError("counting does not end")

    async def stream(
        self, path: str, *, params: Mapping[str, str] | None = None, accept: str = "*/*"
    ) -> AsyncIterator[bytes]:
        """An answer of any size, piece by piece. It may take as long as it goes on coming."""
        await self.request("GET", path, params={**(params or {}), "limit": "1"})  # a fresh token, and a right
        headers = {**self._credential(), "Accept": accept}
        timeout = aiohttp.ClientTimeout(sock_connect=self._timeout_s, sock_read=self._timeout_s)
        try:
            async with self._session().get(
                f"{self.url}{path}", params=params, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise ApiError(response.status, response.headers, _body(await response.text()))
                async for piece in response.content.iter_chunked(_PIECE_BYTES):
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionLost(f"The connection to {self.url} was lost amid the answer") from error

    def _credential(self) -> dict[str, str]:
        if self._api_key is not None:
            return {"X-API-Key": self._api_key}
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    async def keep(self, reply: Reply) -> None:
        """Use the tokens of a log-in from now on, and keep them where the profile is kept."""
        self._api_key = None
        self.token, self.refresh_token = reply.body["access_token"], reply.body["refresh_token"]
        if self._profile is not None:
            tokens = {"access_token": self.token, "refresh_token": self.refresh_token}
            self._profile = replace(self._profile, **tokens)
            await asyncio.to_thread(self._profile.save)

    async def _refresh(self, used: str | None) -> bool:
        """A new access token for the refresh token, or the one that somebody else has fetched meanwhile."""
        async with self._refreshing:
            if self.token != used:
                return True
            if self.refresh_token is None:
                return False
            with ExitStack() as alone:
                if self._profile is not None:
                    await asyncio.to_thread(alone.enter_context, locked(self._profile.name))
                    kept = Profile.load(self._profile.name)
                    if kept is not None and kept.url == self._profile.url and kept.access_token != used:
                        self.token, self.refresh_token = kept.access_token, kept.refresh_token
                        return True
                # Never sent twice: the server takes a second use for a thief's.
                reply = await self.call("POST", "/token/refresh", json={"refresh_token": self.refresh_token})
                if reply.status == 200:
                    await self.keep(reply)
                return reply.status == 200

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            try:
                context = ssl.create_default_context(cafile=fspath(self._ca_file) if self._ca_file else None)
            except OSError as error:
                raise NotTrusted(f"{self._ca_file} is not a certificate that can be read.") from error
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        return self._http


def _form(photo: Photo | Mapping[str, Photo], fields: Mapping[str, object]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, one in photo.items() if isinstance(photo, Mapping) else (("image", photo),):
        content = one if isinstance(one, bytes) else Path(one).read_bytes()
        form.add_field(name, content, filename=name, content_type="application/octet-stream")
    for name, value in fields.items():
        for item in cast("list[object]", value) if isinstance(value, (list, tuple)) else (value,):
            form.add_field(name, item if isinstance(item, str) else json_text.dumps(item))
    return form


def _advised_pause_s(error: ApiError | ConnectionLost) -> float:
    """How long the server wants to be left alone; for ever, where trying again does not help."""
    if isinstance(error, ConnectionLost):
        return 0
    if error.status in _WORTH_A_PAUSE or error.code == "idempotency_in_progress":
        return error.retry_after_s or 0
    return math.inf


def _body(text: str) -> Any:
    try:
        return json_text.loads(text) if text else None
    except ValueError:
        return text
