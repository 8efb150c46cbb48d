"""`python -m scripts.alive URL`: whether a listener of this machine answers with 200; for health checks.

Images bring no curl, and the `faceid` command takes longer to load than a check should. Only loopback is
asked, so the certificate need not be checked: it names the hosts that clients use, and no secret is said.
"""

import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_TIMEOUT_S: Final = 4.0


def fault(url: str, timeout_s: float = _TIMEOUT_S) -> str | None:
    """What is wrong, in words; None if 200 was answered in time. Raises ValueError for an address that is
    not loopback."""
    parts = urlsplit(url)
    if not ip_address(parts.hostname or "").is_loopback:
        raise ValueError("only an address of this machine is asked")
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout_s)
    try:
        connection.request("GET", parts.path)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
    return None if status == 200 else f"status {status}"


def _connection(scheme: str, host: str, port: int | None, timeout_s: float) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=timeout_s)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(host, port, timeout=timeout_s, context=context)


if __name__ == "__main__":
    sys.exit(fault(sys.argv[1]))
