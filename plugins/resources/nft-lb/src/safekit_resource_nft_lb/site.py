"""One resource on one server, and the words that its rules are made of. Pure.

Every address, port and hardware address in a ruleset was parsed before, so nothing of it can be mistaken for a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from safekit_resource_nft_lb.config import Address, Hash, NftLbConfig, Service
from safekit_resource_nft_lb.place import Place
from safekit_sdk import BUCKETS

BUCKET: Final = "typeof numgen inc mod 256"
"""How a set of buckets is declared: another spelling makes `nft list ruleset` of 1.0.6 crash."""
NOT_SYN: Final = "tcp flags & (fin|syn|rst|ack) != syn"
V4_ERRORS: Final = "icmp type { destination-unreachable, time-exceeded, parameter-problem }"
V6_ERRORS: Final = "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }"
V6_NEIGHBOURS: Final = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"


@dataclass(frozen=True, slots=True)
class Site:
    """One resource on one server."""

    table: str
    node: str
    config: NftLbConfig
    place: Place
    v4: tuple[IPv4Address, ...] = field(init=False)
    v6: tuple[IPv6Address, ...] = field(init=False)

    def __post_init__(self) -> None:
        addresses = self.config.addresses
        object.__setattr__(self, "v4", tuple(a for a in addresses if isinstance(a, IPv4Address)))
        object.__setattr__(self, "v6", tuple(a for a in addresses if isinstance(a, IPv6Address)))


def hashed(site: Site, family: int, *, session: bool) -> str:
    """The bucket of a packet."""
    key = "ip saddr" if family == 4 else "ip6 saddr"
    return f"jhash {key}{' . th sport' if session else ''} mod {BUCKETS} seed {site.config.seed:#x}"


def _services(site: Site, family: int, chains: dict[Hash, str]) -> str:
    """The rules as a map's elements, or nothing; what is not in it is shared by client address."""
    wanted = site.v4 if family == 4 else site.v6
    elements = [
        f"{address} . {protocol} . {port} : goto {chains[way]}"
        for (address, protocol, port), way in site.config.hashes().items()
        if address in wanted
    ]
    return f" elements = {{ {', '.join(elements)} }}" if elements else ""


def service_map(site: Site, name: str, family: int, chains: dict[Hash, str]) -> str:
    kind = "ipv4_addr" if family == 4 else "ipv6_addr"
    return f" map {name} {{ type {kind} . inet_proto . inet_service : verdict;{_services(site, family, chains)} }}"


def changed_set(name: str, family: int) -> str:
    """For services of which a connection may be on any server, since they were shared by another hash before."""
    kind = "ipv4_addr" if family == 4 else "ipv6_addr"
    return f" set {name} {{ type {kind} . inet_proto . inet_service; flags timeout; }}"


def in_changed(family: int) -> str:
    """Matches what is no first packet of a connection, for such a service."""
    ip = "ip" if family == 4 else "ip6"
    return f"{NOT_SYN} {ip} daddr . meta l4proto . th dport @changed{family}"


def changed_elements(site: Site, table_family: str, left_s: Mapping[Service, float]) -> list[str]:
    """Fill the sets of one table for as many seconds as each service has left."""
    lines = []
    for family, addresses in ((4, site.v4), (6, site.v6)):
        elements = ", ".join(
            f"{address} . {protocol} . {port} timeout {max(int(seconds * 1000), 1)}ms"
            for (address, protocol, port), seconds in left_s.items()
            if address in addresses
        )
        if elements:
            lines.append(f"add element {table_family} {site.table} changed{family} {{ {elements} }}")
    return lines


def listed(addresses: Iterable[Address]) -> str:
    return "{ " + ", ".join(map(str, addresses)) + " }"
