"""Calls of a Qdrant server: each with a deadline, and with failures told as the role's."""

import asyncio
import os
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from grpc import StatusCode
from grpc.aio import AioRpcError
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

from infra.refused import StoreRefused
from infra.vectors.port import VectorsError, VectorsUnavailable

T = TypeVar("T")

_PORT: Final = 6334
_OPTIONS: Final[dict[str, Any]] = {
    # A server that comes up again is found within a second, not within the library's two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    # A connection whose other end has vanished without a word is noticed while a call waits for it.
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    # Templates go to the server that is configured, never through a proxy that the environment names.
    "grpc.enable_http_proxy": 0,
}
_CLOSE_TIMEOUT_S: Final = 5.0

# Trying again helps with anything but a request that the server can't make sense of.
_OUR_FAULT: Final = (StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED, StatusCode.OUT_OF_RANGE)
# A handshake that TLS itself fails, not a connection that breaks off; and a certificate for another host.
_TLS_REFUSED: Final = ("SSL_ERROR_SSL", "Peer name", "Hostname Verification")


class CollectionGone(VectorsUnavailable):
    """The collection that was asked is not there any more: the index was made anew."""


@dataclass(frozen=True)
class QdrantAddress:
    """Where the server is and how it is let in: what `FACEID_QDRANT_*` says of it."""

    url: str
    """`http(s)://host:port` of the gRPC port; 6334 where no port is named."""
    api_key: str | None = None
    ca_file: Path | None = None
    """Whom the server's certificate must come from, if not from an authority that everybody trusts."""


class QdrantCalls:
    """The connection. Its client is made by `open`; the library reconnects by itself."""

    def __init__(self, address: QdrantAddress, *, timeout_s: float) -> None:
        parts = urlsplit(address.url)
        self._address = address
        self._host, self._port = parts.hostname or "", parts.port or _PORT
        self._tls = parts.scheme == "https"
        self._timeout_s = timeout_s
        self._client: AsyncQdrantClient | None = None

    @property
    def where(self) -> str:
        """How messages name the server."""
        return f"Qdrant at {self._host}:{self._port}"

    @property
    def client(self) -> AsyncQdrantClient:
        if self._client is None:
            raise VectorsUnavailable("the index is not open")
        return self._client

    def open(self) -> None:
        """Raises StoreRefused if the file of authorities can't be read. Connects with the first call."""
        # The library writes lines of its own to standard error otherwise; its errors come as exceptions, too.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        options = dict(_OPTIONS)
        if self._address.ca_file is not None:
            try:
                options["root_certificates"] = self._address.ca_file.read_bytes()
            except OSError as error:
                raise StoreRefused(
                    f"index: FACEID_QDRANT_CA_FILE: {self._address.ca_file}: {error.strerror}"
                ) from error
        # As a header, because the library's own parameter warns of plain connections, which the settings
        # judge.
        headers = None if self._address.api_key is None else {"api-key": self._address.api_key}
        self._client = AsyncQdrantClient(
            host=self._host,
            grpc_port=self._port,
            https=self._tls,
            prefer_grpc=True,
            headers=headers,
            timeout=ceil(self._timeout_s),
            grpc_options=options,
            check_compatibility=False,  # It would ask a port that need not be open, and only warn.
        )

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await client.close()

    async def call(self, answer: Awaitable[T], timeout_s: float | None = None) -> T:
        """Raises VectorsUnavailable, VectorsError for what the server can't make sense of."""
        seconds = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError as error:
            raise VectorsUnavailable(f"{self.where}: no answer in {seconds:g} s") from error
        except ResourceExhaustedResponse as error:
            raise VectorsUnavailable(f"{self.where}: {error}") from error
        except AioRpcError as error:
            raise self._failure(error) from error

    def refusal(self, error: VectorsError) -> StoreRefused | None:
        """What no waiting can mend about a failed call; None for what may pass."""
        cause = error.__cause__
        if not isinstance(cause, AioRpcError):
            return None
        if cause.code() is StatusCode.UNAUTHENTICATED:
            return StoreRefused(f"index: {self.where} does not accept the key: see FACEID_QDRANT_API_KEY")
        if cause.code() is StatusCode.PERMISSION_DENIED:
            return StoreRefused(
                f"index: {self.where} does not let us do what must be done: see FACEID_QDRANT_API_KEY, and "
                "`faceid setup`, which makes the index"
            )
        if self._tls and any(sign in (cause.details() or "") for sign in _TLS_REFUSED):
            return StoreRefused(
                f"index: {self.where}: its certificate is not trusted, or it does not speak TLS: see "
                "FACEID_QDRANT_URL and FACEID_QDRANT_CA_FILE"
            )
        return None

    def _failure(self, error: AioRpcError) -> VectorsError:
        code = error.code()
        text = f"{self.where}: {code.name}: {error.details() or ''}"
        if code is StatusCode.NOT_FOUND:
            return CollectionGone(text)
        return VectorsError(text) if code in _OUR_FAULT else VectorsUnavailable(text)
