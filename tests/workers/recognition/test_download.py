"""Fetching a weights file, from a server on this machine."""

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from workers.recognition.download import download
from workers.recognition.weights import WeightsError


def silent(_: str) -> None:
    return


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves eight bytes; below /short it says that there are more, below /away it leads to plain http."""

    def do_GET(self) -> None:
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:9/file.pt")
            self.end_headers()
            return
        found = not self.path.startswith("/none")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", "9" if self.path.startswith("/short") else "8")
        self.end_headers()
        self.wfile.write(b"8 bytes!")

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server whose certificate this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    both = tmp_path / "server.txt"
    both.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    trusted = tmp_path / "trusted.txt"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with contextlib.closing(server.socket):
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_is_fetched_over_https(tmp_path: Path, https: str) -> None:
    fetched = download(f"{https}/models/file.pt?raw=1", tmp_path / "packages", silent)
    assert fetched == tmp_path / "packages" / "file.pt"
    assert fetched.read_bytes() == b"8 bytes!"


@pytest.mark.parametrize(
    ("path", "words"),
    [("short/file.pt", "cut off"), ("none/file.pt", "could not be downloaded"), ("away/file.pt", "file.pt")],
)
def test_a_failed_download_leaves_nothing(tmp_path: Path, https: str, path: str, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        download(f"{https}/{path}", tmp_path / "packages", silent)
    assert list((tmp_path / "packages").iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1/file.pt", "file:///etc/hosts", "file.pt"])
def test_only_https_is_fetched_from(tmp_path: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="https"):
        download(url, tmp_path, silent)
