"""The local certificate authority: made at set-up, good for our own hosts alone, installed nowhere by us.

Its name constraints limit it to the public hosts and loopback, so that whoever trusts it trusts it with
nothing else, even if its key is stolen. A client trusts it by being given `ca.pem`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.clock import Clock
from infra.durable_files import make_private_folders
from infra.keys.private_files import read_private, shred, write_over
from infra.tls.errors import AuthorityDamaged, AuthorityMissing, AuthorityUnfit
from infra.tls.hosts import PublicHosts

LIFETIME = timedelta(days=3650)
RENEW_BEFORE = timedelta(days=365)
"""Set-up replaces an authority with less than this left, so that leaves don't run into its end."""

BACKDATED = timedelta(hours=1)
"""Certificates begin this much in the past, for clients whose clocks are behind."""

_READABLE_FILE = 0o644


@dataclass(frozen=True)
class Authority:
    """The authority's certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def expires_at(self) -> datetime:
        return self.certificate.not_valid_after_utc

    def covers(self, hosts: PublicHosts) -> bool:
        """Whether the name constraints let this authority vouch for all the hosts."""
        constraints = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        permitted = constraints.permitted_subtrees or []
        names = [name.value for name in permitted if isinstance(name, x509.DNSName)]
        ranges = [name.value for name in permitted if isinstance(name, x509.IPAddress)]
        return hosts.within(names, [one for one in ranges if isinstance(one, IPv4Network | IPv6Network)])


class AuthorityFolder:
    """Where the authority is kept: `authority.pem` (key and certificate, 0600) and `ca.pem`, for clients.

    Key and certificate share a file so that a crash can't part them.
    """

    def __init__(self, folder: Path) -> None:
        self._private = folder / "authority.pem"
        self.ca_file = folder / "ca.pem"
        """The certificate that clients are told to trust."""

    def load(self) -> Authority:
        """Raises AuthorityMissing, AuthorityDamaged or UnsafePermissions."""
        try:
            pem = read_private(self._private)
        except FileNotFoundError:
            raise AuthorityMissing(self._private) from None
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            key = serialization.load_pem_private_key(pem, password=None)
            certificate.extensions.get_extension_for_class(x509.NameConstraints)
        except (ValueError, x509.ExtensionNotFound):
            raise AuthorityDamaged(self._private) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            raise AuthorityDamaged(self._private)
        return Authority(certificate, key)

    def load_for(self, hosts: PublicHosts, now: datetime) -> Authority:
        """At start and renewal: the authority, or AuthorityUnfit if it can't vouch for these hosts now.

        It isn't replaced here: a restart must not silently cut off every client that trusts the old one.
        """
        authority = self.load()
        if not authority.covers(hosts):
            raise AuthorityUnfit("isn't allowed to vouch for all of FACEID_PUBLIC_HOSTS")
        if authority.expires_at <= now:
            raise AuthorityUnfit("has expired")
        return authority

    def set_up(self, hosts: PublicHosts, clock: Clock) -> str | None:
        """At set-up: make an authority if there is none that will do.

        Answers why one was replaced, for the person at the terminal, who has to hand out the new `ca.pem`;
        None if it is the first, or the one that was there is kept.
        """
        make_private_folders(self.ca_file.parent)
        replaced = None
        try:
            authority = self.load()
            if not authority.covers(hosts):
                replaced = "it wasn't allowed to vouch for all of FACEID_PUBLIC_HOSTS"
            elif authority.expires_at - clock.now() < RENEW_BEFORE:
                replaced = f"it expires on {authority.expires_at:%Y-%m-%d}"
        except AuthorityMissing:
            authority = self._create(hosts, clock)
        if replaced is not None:
            shred(self._private)
            authority = self._create(hosts, clock)
        # Written each time, so that a lost or foreign copy is put right.
        write_over(self.ca_file, _pem(authority.certificate), _READABLE_FILE)
        return replaced

    def _create(self, hosts: PublicHosts, clock: Clock) -> Authority:
        authority = create_authority(hosts, clock.now())
        key = authority.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_over(self._private, key + _pem(authority.certificate))
        return authority


def create_authority(hosts: PublicHosts, now: datetime) -> Authority:
    """A new P-256 authority, limited to the hosts (RFC 5280, and strict enough for OpenSSL's X509_STRICT)."""
    key = ec.generate_private_key(ec.SECP256R1())
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Part of the name, so that an authority and its successor can't be mistaken for each other.
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"FaceID API local CA {key_id.digest[:4].hex()}")]
    )
    permitted = [*map(x509.DNSName, hosts.names), *map(x509.IPAddress, hosts.networks)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.NameConstraints(permitted, excluded_subtrees=None), critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue(
    authority: Authority, key: ec.EllipticCurvePublicKey, hosts: PublicHosts, now: datetime, until: datetime
) -> bytes:
    """A server's certificate for the hosts, as PEM."""
    signer_id = x509.SubjectKeyIdentifier.from_public_key(authority.key.public_key())
    # No subject: names belong in subjectAltName, which is critical then (RFC 5280 section 4.2.1.6).
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BACKDATED, authority.certificate.not_valid_before_utc))
        .not_valid_after(min(until, authority.expires_at))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName(
                [*map(x509.DNSName, hosts.names), *map(x509.IPAddress, hosts.addresses)]
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer_id), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    return _pem(certificate)


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
