"""Finding out, before anything else, whether and why a Kafka cluster does not let us in."""

import ssl
from collections.abc import Mapping
from typing import Any, Final

from infra.broker.kafka.address import KafkaAddress, speaks_tls
from infra.broker.kafka.client import REFUSED_LOGIN, KafkaError, connected
from infra.broker.port import BrokerUnavailable
from infra.refused import StoreRefused

_CONNECT_S: Final = 5.0


async def reach(address: KafkaAddress, options: Mapping[str, Any]) -> None:
    """Return when a server lets us in.

    Raises StoreRefused where waiting mends nothing, and BrokerUnavailable where it may.
    """
    for server in address.servers:
        if await _lets_us_in(address, server, options):
            return
    raise BrokerUnavailable(
        f"can't bootstrap at {address.text}: is Kafka up, and are FACEID_KAFKA_TLS, user, password and "
        "certificates right?"
    )


async def _lets_us_in(address: KafkaAddress, server: str, options: Mapping[str, Any]) -> bool:
    host, port = address.host_and_port(server)
    try:
        await connected(options, host, port, _CONNECT_S)
    except REFUSED_LOGIN as error:
        raise StoreRefused(
            f"Kafka at {server} refuses user or password: FACEID_KAFKA_USER, FACEID_KAFKA_PASSWORD "
            f"({type(error).__name__})"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise StoreRefused(
            f"the certificate of Kafka at {server} is not trusted: FACEID_KAFKA_CA_FILE "
            f"({error.verify_message})"
        ) from error
    except ssl.SSLError as error:
        raise StoreRefused(
            f"Kafka at {server} does not speak TLS as we do: FACEID_KAFKA_TLS, FACEID_KAFKA_CERT_FILE "
            f"({error.reason})"
        ) from error
    except (KafkaError, OSError, TimeoutError):
        if not address.tls and await speaks_tls(address, server):
            raise StoreRefused(f"Kafka at {server} speaks TLS: FACEID_KAFKA_TLS") from None
        return False
    return True
