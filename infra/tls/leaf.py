"""Where the server's certificate comes from: our own authority, or the operator's files."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra.clock import Clock
from infra.folder_lock import held_lock
from infra.keys.private_files import read_private, write_over
from infra.tls.authority import Authority, AuthorityFolder, issue
from infra.tls.hosts import PublicHosts

LIFETIME = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class ChainFiles:
    """PEM files: the server's certificate with what stands between it and its authority, and the key."""

    certificate_file: Path
    key_file: Path


class CertificateSource(ABC):
    """Knows the files to serve from. Reads and writes files: call it in a thread."""

    @abstractmethod
    def current(self) -> ChainFiles:
        """The files to serve from now, renewed first if that is due. Raises TlsFault, KeyFault or OSError."""


class OperatorCertificate(CertificateSource):
    """The operator's own files (FACEID_TLS_CERT_FILE, FACEID_TLS_KEY_FILE), renewed by whatever renews
    them."""

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        self._files = ChainFiles(certificate_file, key_file)

    def current(self) -> ChainFiles:
        return self._files


class LocalCertificate(CertificateSource):
    """A certificate of the local authority: 90 days, made anew 30 days before its end or when the hosts
    changed.

    Certificate and key share one file, 0600, so that a crash can't part them.
    """

    def __init__(self, folder: Path, hosts: PublicHosts, clock: Clock) -> None:
        self._authority = AuthorityFolder(folder)
        self._file = folder / "server.pem"
        self._hosts = hosts
        self._clock = clock

    def current(self) -> ChainFiles:
        """Raises AuthorityUnfit when the hosts are beyond what the authority may vouch for."""
        now = self._clock.now()
        authority = self._authority.load_for(self._hosts, now)
        if not self._is_good(authority, now):
            # Several ingresses may share the folder: the first makes it, the others find it made.
            with held_lock(self._file.parent / "lock"):
                if not self._is_good(authority, now):
                    self._make(authority, now)
        return ChainFiles(self._file, self._file)

    def _make(self, authority: Authority, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_over(self._file, key_pem + issue(authority, key.public_key(), self._hosts, now, now + LIFETIME))

    def _is_good(self, authority: Authority, now: datetime) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(read_private(self._file))
            certificate.verify_directly_issued_by(authority.certificate)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (FileNotFoundError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False  # None yet, damaged, or of an authority that was replaced.
        end = certificate.not_valid_after_utc
        return (
            # What already lasts as long as its authority gains nothing from being made again.
            (end - now >= RENEW_BEFORE or end >= authority.expires_at)
            and tuple(names.get_values_for_type(x509.DNSName)) == self._hosts.names
            and tuple(names.get_values_for_type(x509.IPAddress)) == self._hosts.addresses
        )
