"""Certificates as a client meets them: real handshakes over loopback."""

import asyncio
import ssl
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from infra.clock import ManualClock
from infra.keys.errors import UnsafePermissions
from infra.tls.authority import AuthorityFolder, create_authority, issue
from infra.tls.errors import (
    AuthorityDamaged,
    AuthorityMissing,
    AuthorityUnfit,
    CertificateUnusable,
    HostInvalid,
)
from infra.tls.hosts import PublicHosts
from infra.tls.leaf import LocalCertificate, OperatorCertificate
from infra.tls.renewer import LeafRenewer

HOSTS = PublicHosts.parse(["door.example", "192.0.2.7"])
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
DAY_S = 86_400.0

Serve = Callable[[ssl.SSLContext], Awaitable[int]]


@pytest.fixture
def clock() -> ManualClock:
    """The machine's time, since OpenSSL compares certificates with that."""
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def folder(tmp_path: Path, clock: ManualClock) -> Path:
    """Where set-up made an authority for HOSTS."""
    AuthorityFolder(tmp_path / "tls").set_up(HOSTS, clock)
    return tmp_path / "tls"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a TLS server that greets and hangs up; answers its port."""
    async with AsyncExitStack() as servers:

        async def start(context: ssl.SSLContext) -> int:
            loop = asyncio.get_running_loop()
            server = await servers.enter_async_context(
                await loop.create_server(Greeter, "127.0.0.1", 0, ssl=context)
            )
            return server.sockets[0].getsockname()[1]

        yield start


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


async def connect(port: int, trust: ssl.SSLContext, name: str = "localhost") -> dict[str, Any]:
    """Shake hands as a client that knows the server under a name; answers the certificate it was shown."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=name)
    try:
        assert await reader.read() == b"hello"
        certificate = writer.get_extra_info("peercert")
        assert certificate is not None
        return certificate
    finally:
        writer.close()
        await writer.wait_closed()


def trusting(ca_file: Path, *, strict: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if strict:  # What Python 3.13 does by default.
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def forge(folder: Path, hosts: PublicHosts, clock: ManualClock) -> OperatorCertificate:
    """A certificate that a thief of the authority's key could make, for hosts of their choice."""
    key, now = ec.generate_private_key(ec.SECP256R1()), clock.now()
    authority = AuthorityFolder(folder).load()
    path = folder / "forged.pem"
    certificate = issue(authority, key.public_key(), hosts, now, now + timedelta(days=1))
    path.write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()) + certificate)
    return OperatorCertificate(path, path)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "door.example", "192.0.2.7"])
async def test_a_client_with_the_ca_file_trusts_each_host(
    folder: Path, clock: ManualClock, serve: Serve, name: str, strict: bool, version: ssl.TLSVersion
) -> None:
    renewer = await LeafRenewer.open(LocalCertificate(folder, HOSTS, clock), clock)
    trust = trusting(folder / "ca.pem", strict=strict)
    trust.minimum_version = trust.maximum_version = version
    await connect(await serve(renewer.context), trust, name)


async def test_a_client_without_it_refuses(folder: Path, clock: ManualClock, serve: Serve) -> None:
    renewer = await LeafRenewer.open(LocalCertificate(folder, HOSTS, clock), clock)
    port = await serve(renewer.context)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        await connect(port, ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        await connect(port, trusting(folder / "ca.pem"), "elsewhere.example")


@pytest.mark.parametrize("name", ["bank.example", "192.0.2.8"])
async def test_the_authority_cannot_vouch_for_other_hosts_even_if_its_key_is_stolen(
    folder: Path, clock: ManualClock, serve: Serve, name: str
) -> None:
    forged = forge(folder, PublicHosts.parse([name]), clock)
    port = await serve((await LeafRenewer.open(forged, clock)).context)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        await connect(port, trusting(folder / "ca.pem"), name)


async def test_old_tls_is_refused(folder: Path, clock: ManualClock) -> None:
    renewer = await LeafRenewer.open(LocalCertificate(folder, HOSTS, clock), clock)
    assert renewer.context.minimum_version is ssl.TLSVersion.TLSv1_2
    names = [str(cipher["name"]) for cipher in renewer.context.get_ciphers()]
    assert names
    assert all(
        name.startswith(("TLS_", "ECDHE-")) and ("GCM" in name or "CHACHA20" in name) for name in names
    )


async def test_a_renewed_certificate_is_served_to_new_connections(tmp_path: Path, serve: Serve) -> None:
    clock = ManualClock(datetime.now(UTC) - timedelta(days=60, hours=1))
    AuthorityFolder(tmp_path).set_up(HOSTS, clock)
    renewer = await LeafRenewer.open(LocalCertificate(tmp_path, HOSTS, clock), clock)
    port, trust = await serve(renewer.context), trusting(tmp_path / "ca.pem")
    first = await connect(port, trust)
    running = asyncio.create_task(renewer.run())
    try:
        await clock.until_sleeping()
        clock.advance(3600)
        await clock.until_sleeping()
        assert (await connect(port, trust))["serialNumber"] == first["serialNumber"]
        clock.advance(60 * DAY_S)  # Less than 30 of its 90 days are left.
        await clock.until_sleeping()
        second = await connect(port, trust)
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()
    assert second["serialNumber"] != first["serialNumber"]
    assert renewer.expires_at - clock.now() == timedelta(days=90) - timedelta(
        microseconds=clock.now().microsecond
    )


async def test_a_restart_serves_the_same_certificate(folder: Path, clock: ManualClock) -> None:
    LocalCertificate(folder, HOSTS, clock).current()
    before = (folder / "server.pem").read_bytes()
    clock.advance(60 * DAY_S - 1)
    LocalCertificate(folder, HOSTS, clock).current()
    assert (folder / "server.pem").read_bytes() == before


def test_ingresses_that_share_the_folder_make_one_certificate(folder: Path, clock: ManualClock) -> None:
    begin = threading.Barrier(8)

    def current(_: int) -> bytes:
        begin.wait()
        return LocalCertificate(folder, HOSTS, clock).current().certificate_file.read_bytes()

    with ThreadPoolExecutor(8) as ingresses:
        assert len(set(ingresses.map(current, range(8)))) == 1


async def test_fewer_hosts_get_a_certificate_of_the_same_authority(folder: Path, clock: ManualClock) -> None:
    LocalCertificate(folder, HOSTS, clock).current()
    fewer = PublicHosts.parse(["north.door.example"])
    assert AuthorityFolder(folder).set_up(fewer, clock) is None
    leaf = x509.load_pem_x509_certificate(
        LocalCertificate(folder, fewer, clock).current().certificate_file.read_bytes()
    )
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "north.door.example"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1"), ip_address("::1")]


def test_a_certificate_is_made_anew_for_other_names_other_addresses_or_another_authority(
    folder: Path, clock: ManualClock
) -> None:
    seen: set[bytes] = set()
    for hosts in (["door.example", "192.0.2.7"], ["door.example"], ["north.door.example"]):
        seen.add(LocalCertificate(folder, PublicHosts.parse(hosts), clock).current().key_file.read_bytes())
    (folder / "authority.pem").unlink()
    AuthorityFolder(folder).set_up(HOSTS, clock)
    last = LocalCertificate(folder, PublicHosts.parse(["north.door.example"]), clock).current()
    seen.add(last.key_file.read_bytes())
    assert len(seen) == 4


async def test_hosts_beyond_the_authority_stop_the_start_and_are_mended_by_set_up(
    folder: Path, clock: ManualClock, serve: Serve
) -> None:
    more = PublicHosts.parse(["door.example", "gate.example"])
    old = (folder / "ca.pem").read_bytes()
    with pytest.raises(AuthorityUnfit, match="faceid setup"):
        await LeafRenewer.open(LocalCertificate(folder, more, clock), clock)
    assert (folder / "ca.pem").read_bytes() == old

    reason = AuthorityFolder(folder).set_up(more, clock)
    assert reason is not None
    assert "FACEID_PUBLIC_HOSTS" in reason
    assert (folder / "ca.pem").read_bytes() != old
    renewer = await LeafRenewer.open(LocalCertificate(folder, more, clock), clock)
    await connect(await serve(renewer.context), trusting(folder / "ca.pem"), "gate.example")


def test_an_ending_authority_is_replaced_by_set_up_and_an_ended_one_serves_nobody(
    folder: Path, clock: ManualClock
) -> None:
    authority = AuthorityFolder(folder)
    clock.advance(9 * 365 * DAY_S - 1)
    assert authority.set_up(HOSTS, clock) is None
    end = authority.load().expires_at
    clock.advance(364 * DAY_S)
    chain = LocalCertificate(folder, HOSTS, clock).current().certificate_file.read_bytes()
    assert x509.load_pem_x509_certificate(chain).not_valid_after_utc == end
    assert LocalCertificate(folder, HOSTS, clock).current().certificate_file.read_bytes() == chain
    clock.advance(2 * DAY_S)
    with pytest.raises(AuthorityUnfit, match="expired"):
        LocalCertificate(folder, HOSTS, clock).current()
    reason = authority.set_up(HOSTS, clock)
    assert reason is not None
    assert f"{end:%Y-%m-%d}" in reason


def test_keys_are_private_and_the_certificate_for_clients_is_not(folder: Path, clock: ManualClock) -> None:
    LocalCertificate(folder, HOSTS, clock).current()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"authority.pem": 0o600, "server.pem": 0o600, "ca.pem": 0o644, "lock": 0o600}
    assert b"PRIVATE" not in (folder / "ca.pem").read_bytes()


def test_set_up_again_changes_nothing_but_a_lost_ca_file(folder: Path, clock: ManualClock) -> None:
    before = (folder / "ca.pem").read_bytes()
    (folder / "ca.pem").unlink()
    assert AuthorityFolder(folder).set_up(HOSTS, clock) is None
    assert (folder / "ca.pem").read_bytes() == before


def test_an_authority_that_is_missing_damaged_or_exposed_is_refused(folder: Path, clock: ManualClock) -> None:
    authority, private = AuthorityFolder(folder), folder / "authority.pem"
    whole = private.read_bytes()
    private.chmod(0o640)
    with pytest.raises(UnsafePermissions):
        authority.load()
    private.chmod(0o600)
    other = create_authority(HOSTS, clock.now()).key.private_bytes(PEM, PKCS8, serialization.NoEncryption())
    certificate = whole[whole.index(b"-----BEGIN CERTIFICATE") :]
    forge(folder, HOSTS, clock)
    for damaged in (b"", whole[:-60], other + certificate, (folder / "forged.pem").read_bytes()):
        private.write_bytes(damaged)
        with pytest.raises(AuthorityDamaged):
            authority.load()
    private.unlink()
    with pytest.raises(AuthorityMissing, match="faceid setup"):
        authority.load()


def test_the_authoritys_certificate_is_as_narrow_as_it_can_be(clock: ManualClock) -> None:
    extensions = create_authority(HOSTS, clock.now()).certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    constraints = extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [
        x509.DNSName("door.example"),
        x509.DNSName("localhost"),
        x509.IPAddress(ip_network("127.0.0.0/8")),
        x509.IPAddress(ip_network("::1/128")),
        x509.IPAddress(ip_network("192.0.2.7/32")),
    ]


async def test_the_operators_files_are_served_and_followed(
    folder: Path, clock: ManualClock, serve: Serve
) -> None:
    source = forge(folder, HOSTS, clock)
    renewer = await LeafRenewer.open(source, clock)
    port, trust = await serve(renewer.context), trusting(folder / "ca.pem")
    first = await connect(port, trust)
    assert not await renewer.check()
    forge(folder, HOSTS, clock)
    assert await renewer.check()
    assert (await connect(port, trust))["serialNumber"] != first["serialNumber"]


async def test_files_that_do_not_fit_together_leave_the_old_certificate_in_service(
    folder: Path, clock: ManualClock, serve: Serve
) -> None:
    source = forge(folder, HOSTS, clock)
    renewer = await LeafRenewer.open(source, clock)
    port, trust = await serve(renewer.context), trusting(folder / "ca.pem")
    first = await connect(port, trust)
    path = source.current().certificate_file
    whole = path.read_bytes()
    key = create_authority(HOSTS, clock.now()).key.private_bytes(PEM, PKCS8, serialization.NoEncryption())
    with capture_logs() as lines:
        running = asyncio.create_task(renewer.run())
        try:
            for broken in (key + whole[whole.index(b"-----BEGIN CERT") :], b"", None):
                path.unlink()
                if broken is not None:
                    path.write_bytes(broken)
                await clock.until_sleeping()
                clock.advance(3600)
            await clock.until_sleeping()
        finally:
            running.cancel()
            await asyncio.wait([running])
    assert [line["event"] for line in lines] == ["certificate_check_failed"] * 3
    assert (await connect(port, trust))["serialNumber"] == first["serialNumber"]


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\n", b"\x00"])
async def test_unusable_files_are_refused_at_start(
    tmp_path: Path, clock: ManualClock, content: bytes
) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(content)
    with pytest.raises(CertificateUnusable, match=r"chain\.pem"):
        await LeafRenewer.open(OperatorCertificate(path, path), clock)


async def test_a_key_with_a_password_is_refused_instead_of_asked_for(
    folder: Path, clock: ManualClock
) -> None:
    source = forge(folder, HOSTS, clock)
    path = source.current().key_file
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    locked = folder / "locked.pem"
    locked.write_bytes(key.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"secret")))
    with pytest.raises(CertificateUnusable, match="password"):
        await LeafRenewer.open(OperatorCertificate(path, locked), clock)


def test_hosts_are_told_apart_sorted_and_freed_of_doubles() -> None:
    hosts = PublicHosts.parse(
        ["Door.Example.", "door.example", "[2001:db8::7]", "192.0.2.7", "127.0.0.1", "a-1"]
    )
    assert hosts.names == ("a-1", "door.example", "localhost")
    assert [str(address) for address in hosts.addresses] == ["127.0.0.1", "192.0.2.7", "::1", "2001:db8::7"]


@pytest.mark.parametrize(
    "host",
    [
        *("", "*.example", "https://door.example", "door.example:8443", "bücher.example", "a_b.example"),
        *("-a.example", "a..b", "10.0.0.256", "10.0.0.0/8", "a" * 64, f"{'a.' * 130}example"),
        *("fe80::1%eth0", "fe80::1%eth0 x"),
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(HostInvalid):
        PublicHosts.parse([host])
