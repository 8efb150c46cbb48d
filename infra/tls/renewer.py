"""The TLS context that the listener uses, kept current while it runs."""

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn, Self

from cryptography import x509

from infra.clock import Clock
from infra.keys.errors import KeyFault
from infra.telemetry import get_logger
from infra.tls.errors import CertificateUnusable, TlsFault
from infra.tls.leaf import CertificateSource, ChainFiles

CHECK_EVERY_S = 3600.0

# TLS 1.2 with forward secrecy and authenticated encryption alone (RFC 9325 section 4.2); TLS 1.3 has
# nothing else.
_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_log = get_logger(__name__)


@dataclass(frozen=True)
class _Chain:
    context: ssl.SSLContext
    digest: bytes
    expires_at: datetime


class LeafRenewer:
    """Serves the source's certificate, and its successor to connections that come later.

    `context` stays the same object for the listener's life. At each handshake it hands over to a context
    that was made from the newest files. Loading new files into the live context instead would leave it
    unusable when they don't fit together (a tool that replaces certificate and key one after the other),
    and would go on serving the old certificate beside a new one of another key type.
    """

    def __init__(self, source: CertificateSource, clock: Clock, first: _Chain, check_every_s: float) -> None:
        self._source = source
        self._clock = clock
        self._check_every_s = check_every_s
        self._chain = first
        self.context = _new_context()
        self.context.sni_callback = self._hand_over

    @classmethod
    async def open(
        cls, source: CertificateSource, clock: Clock, check_every_s: float = CHECK_EVERY_S
    ) -> Self:
        """Raises TlsFault, KeyFault or OSError if there is no certificate to begin with."""
        return cls(source, clock, await asyncio.to_thread(_load, source.current), check_every_s)

    @property
    def expires_at(self) -> datetime:
        """When the certificate that is served expires."""
        return self._chain.expires_at

    async def check(self) -> bool:
        """Renew what is due and take what is new; True if new connections now get another certificate."""
        chain = await asyncio.to_thread(_load, self._source.current)
        if chain.digest == self._chain.digest:
            return False
        self._chain = chain
        return True

    async def run(self) -> None:
        """Check every hour until cancelled. What fails is logged, and the old certificate served on."""
        while True:
            await self._clock.sleep(self._check_every_s)
            try:
                if await self.check():
                    _log.info("certificate_replaced", expires_at=self.expires_at)
            except (TlsFault, KeyFault, OSError):
                _log.exception("certificate_check_failed", expires_at=self.expires_at)

    def _hand_over(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._chain.context


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(current: Callable[[], ChainFiles]) -> _Chain:
    files = current()
    content = files.certificate_file.read_bytes()
    digest = hashlib.sha256(content + files.key_file.read_bytes()).digest()

    def refuse_password() -> NoReturn:  # Without it, OpenSSL would stop and ask at the terminal.
        raise CertificateUnusable(
            files.certificate_file, files.key_file, "the key is protected by a password"
        )

    context = _new_context()
    try:
        context.load_cert_chain(files.certificate_file, files.key_file, refuse_password)
        expires_at = x509.load_pem_x509_certificates(content)[0].not_valid_after_utc
    except (ssl.SSLError, ValueError) as error:
        reason = "they aren't a PEM certificate chain and its key"
        raise CertificateUnusable(files.certificate_file, files.key_file, reason) from error
    return _Chain(context, digest, expires_at)
