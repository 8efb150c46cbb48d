"""Settings that can't be meant are refused before anything starts."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from infra.settings import Settings


@pytest.mark.parametrize(
    "listen", ["8443", ":8443", "localhost", "localhost:", "localhost:x", "localhost:65536"]
)
def test_a_listener_is_an_address_and_a_port(listen: str) -> None:
    with pytest.raises(ValidationError, match="an address and a port"):
        Settings(listen=listen)


@pytest.mark.parametrize(
    ("listen", "host", "port"), [("127.0.0.1:8443", "127.0.0.1", 8443), ("[::1]:0", "::1", 0)]
)
def test_a_listener_is_taken_apart(listen: str, host: str, port: int) -> None:
    settings = Settings(listen=listen)
    assert (settings.listen_host, settings.listen_port) == (host, port)


def test_half_a_certificate_is_refused_rather_than_replaced_by_our_own() -> None:
    with pytest.raises(ValidationError, match="go together"):
        Settings(tls_cert_file=Path("server.pem"))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEID_PUBLIC_HOSTS", "faces.example.com, 10.0.0.7")
    monkeypatch.setenv("FACEID_SEARCH_TTL_S", "5")
    settings = Settings()
    assert settings.public_hosts == ("faces.example.com", "10.0.0.7")
    assert settings.search_ttl_s == 5
