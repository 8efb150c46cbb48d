"""Where the Kafka cluster is, who we are there, and what may be wrong when it can't be reached."""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.refused import StoreRefused

_HANDSHAKE_S: Final = 3.0


@dataclass(frozen=True)
class KafkaAddress:
    """Servers, and how each side proves who it is: by TLS, user and password (SCRAM-SHA-512), a client's
    certificate."""

    servers: tuple[str, ...]
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """The servers as the operator wrote them."""
        return ",".join(self.servers)

    def options(self) -> dict[str, Any]:
        """What every client of aiokafka is told. Raises StoreRefused for files that are no certificates."""
        encrypted, named = self.tls, self.user is not None
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "security_protocol": ("SASL_" if named else "") + ("SSL" if encrypted else "PLAINTEXT"),
        }
        if encrypted:
            options["ssl_context"] = self.ssl_context()
        if named:
            options |= {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return options

    def ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ValueError) as error:
            raise StoreRefused(
                f"Kafka: FACEID_KAFKA_CA_FILE, FACEID_KAFKA_CERT_FILE or FACEID_KAFKA_KEY_FILE can't be used "
                f"({type(error).__name__})"
            ) from error
        return context

    def host_and_port(self, server: str) -> tuple[str, int]:
        host, _, port = server.rpartition(":")
        return host.strip("[]"), int(port)


async def speaks_tls(address: KafkaAddress, server: str) -> bool:
    """Whether a server answers a TLS handshake; whom it claims to be is not asked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, port = address.host_and_port(server)
    try:
        async with asyncio.timeout(_HANDSHAKE_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        # It spoke TLS if it went as far as asking for our certificate.
        return "ALERT" in (error.reason or "")
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()  # not `close`, which would wait for the server to take its leave
    return True
