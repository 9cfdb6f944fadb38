"""Where packets for the virtual addresses arrive: the interface, and this server's own addresses on it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from typing import Any

import psutil

from safekit_resource_nft_lb.config import Address, NftLbConfig
from safekit_sdk import ConfigError

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Place:
    interface: str
    mac: str
    own4: IPv4Address | None = None
    own6: IPv6Address | None = None
    """Addresses of this server alone, to ask neighbours with."""


def find(config: NftLbConfig) -> Place:
    """ConfigError that names the interfaces there are."""
    found = {name: entries for name, entries in psutil.net_if_addrs().items() if name != "lo"}
    own = {name: [a for a in _addresses(entries) if a.ip not in config.addresses] for name, entries in found.items()}
    name = config.interface or _covering(config.addresses[0], own)
    if name not in found:
        raise ConfigError(f"there is no interface {name}", hint=f"there are: {', '.join(found) or 'none'}")
    for address in config.addresses:
        if config.interface is None and not any(address in a.network for a in own[name]):
            raise ConfigError(
                f"{address} is not of a network of {name}, where {config.addresses[0]} is",
                hint=f"correct the address, or say `interface: {name}`; {name} has {_named(own[name])}",
            )
    mac = next((entry.address for entry in found[name] if entry.family == socket.AF_PACKET), "")
    near = [a.ip for a in own[name] if any(address in a.network for address in config.addresses)]
    return Place(
        name,
        mac,
        next((ip for ip in near if isinstance(ip, IPv4Address)), None),
        next((ip for ip in near if isinstance(ip, IPv6Address)), None),
    )


def _addresses(entries: list[Any]) -> list[Interface]:
    internet = [entry for entry in entries if entry.family in {socket.AF_INET, socket.AF_INET6}]
    return [ip_interface(f"{entry.address.partition('%')[0]}/{_prefix(entry.netmask)}") for entry in internet]


def _prefix(netmask: str | None) -> int:
    return 128 if netmask is None else int(ip_address(netmask)).bit_count()


def _covering(address: Address, own: dict[str, list[Interface]]) -> str:
    fitting = [name for name, interfaces in own.items() if any(address in a.network for a in interfaces)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(
            f"{address} fits to several interfaces: {', '.join(fitting)}", hint="say which with `interface:`"
        )
    there = "; ".join(f"{name} {_named(interfaces)}" for name, interfaces in own.items()) or "none"
    raise ConfigError(
        f"no interface has an address in the network of {address}",
        hint=f"correct the address, or say `interface:`; there are: {there}",
    )


def _named(interfaces: list[Interface]) -> str:
    return ", ".join(map(str, interfaces)) or "no address"
