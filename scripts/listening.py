"""The HTTPS part of a process: the certificate, kept current, and the ingress behind it."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from infra.clock import Clock
from infra.owning import owned
from infra.services import Services
from infra.settings import Settings
from infra.tls.hosts import PublicHosts
from infra.tls.leaf import CertificateSource, LocalCertificate, OperatorCertificate
from infra.tls.renewer import LeafRenewer
from ingress.readiness import HostReadiness
from ingress.server import serve_ingress


@asynccontextmanager
async def certified(settings: Settings, clock: Clock) -> AsyncGenerator[ssl.SSLContext]:
    """The context to listen with, renewed for as long as the block lasts. Raises TlsFault or KeyFault."""
    renewer = await LeafRenewer.open(_certificate(settings, clock), clock)
    async with owned(renewer.run(), "certificate"):
        yield renewer.context


@asynccontextmanager
async def listening(
    services: Services,
    context: ssl.SSLContext,
    readiness: HostReadiness,
    *,
    host_decides: bool = True,
) -> AsyncGenerator[str]:
    """Serve HTTPS until the block ends, and then bring to an end what was taken; the address."""
    ingress = await serve_ingress(services, context, readiness, host_decides=host_decides)
    try:
        yield f"https://{_printable(services.settings.listen_host)}:{ingress.port}"
    finally:
        await ingress.stop()


def told_address(settings: Settings, url: str) -> str:
    """Where to reach it and what to trust, in a line."""
    trust = settings.tls_cert_file or settings.tls_dir / "ca.pem"
    return f"faceid listens on {url} (trust {trust})"


def _certificate(settings: Settings, clock: Clock) -> CertificateSource:
    if settings.tls_cert_file is not None and settings.tls_key_file is not None:
        return OperatorCertificate(settings.tls_cert_file, settings.tls_key_file)
    return LocalCertificate(settings.tls_dir, PublicHosts.parse(settings.public_hosts), clock)


def _printable(host: str) -> str:
    """The host as it stands in an address a client can use: a listener on all addresses is reached on
    loopback."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared with, not listened on
        return "localhost"
    return f"[{host}]" if ":" in host else host
