"""The names and addresses that clients reach the service under."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from infra.tls.errors import HostInvalid

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

LOOPBACK_NETWORKS: tuple[IpNetwork, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_LOOPBACK_NAME = "localhost"
_LOOPBACK_ADDRESSES: tuple[IpAddress, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

# RFC 1123 section 2.1: letters, digits and inner hyphens, at most 63 a label and 253 in all.
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_MAX_NAME_CHARS = 253


@dataclass(frozen=True)
class PublicHosts:
    """Sorted, without doubles, loopback always among them."""

    names: tuple[str, ...]
    addresses: tuple[IpAddress, ...]

    @classmethod
    def parse(cls, hosts: Iterable[str]) -> Self:
        """From FACEID_PUBLIC_HOSTS, split. Raises HostInvalid."""
        names, addresses = {_LOOPBACK_NAME}, set(_LOOPBACK_ADDRESSES)
        for host in hosts:
            try:
                address = ip_address(host.strip("[]"))
            except ValueError:
                names.add(_dns_name(host))
            else:
                if "%" in host:  # A zone names an interface of this machine; a certificate can't.
                    raise HostInvalid(host)
                addresses.add(address)
        return cls(
            tuple(sorted(names)), tuple(sorted(addresses, key=lambda address: (address.version, address)))
        )

    @property
    def networks(self) -> tuple[IpNetwork, ...]:
        """The addresses as an authority may be limited to them: loopback as a whole, others one by one."""
        outside = [a for a in self.addresses if not any(_within(a, network) for network in LOOPBACK_NETWORKS)]
        return (*LOOPBACK_NETWORKS, *(ip_network(address) for address in outside))

    def within(self, names: Iterable[str], networks: Iterable[IpNetwork]) -> bool:
        """Whether an authority that is limited to these names (with what is below them) and networks covers
        all."""
        permitted_names, permitted_networks = tuple(names), tuple(networks)
        return all(
            any(name == permitted or name.endswith(f".{permitted}") for permitted in permitted_names)
            for name in self.names
        ) and all(
            any(_within(address, network) for network in permitted_networks) for address in self.addresses
        )


def _within(address: IpAddress, network: IpNetwork) -> bool:
    return address.version == network.version and address in network


def _dns_name(host: str) -> str:
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    # An all-digit last label is a mistyped address: no top-level domain is a number (RFC 3696 section 2).
    if len(name) > _MAX_NAME_CHARS or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise HostInvalid(host)
    return name
