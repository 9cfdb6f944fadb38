"""What a module file says about a virtual address."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from safekit_sdk import Duration, FailureAction, ResourceConfig

Interface = IPv4Interface | IPv6Interface


def _virtual_address(value: Any) -> Interface:
    """An address with its prefix length that one host of a network can have."""
    text = str(value).strip()
    if "/" not in text:
        raise ValueError(f"'{text}' lacks the length of its network's prefix; write it as 10.0.0.100/24")
    try:
        found = ip_interface(text)
    except ValueError:
        raise ValueError(f"'{text}' is not an address; write it as 10.0.0.100/24 or fd00::100/64") from None
    kinds = ("unspecified", "loopback", "multicast", "reserved")
    wrong = next((kind for kind in kinds if getattr(found.ip, f"is_{kind}")), None)
    if wrong is not None:
        raise ValueError(f"{found.ip} is a {wrong} address; no host can offer a service at it")
    if found.network.prefixlen < found.max_prefixlen - 1:
        if found.ip == found.network.network_address:
            raise ValueError(f"{found.ip} is the address of the network {found.network} itself; use one of its hosts")
        if found.version == 4 and found.ip == found.network.broadcast_address:
            raise ValueError(f"{found.ip} is the broadcast address of {found.network}; use one of its hosts")
    return found


VirtualAddress = Annotated[
    Interface,
    BeforeValidator(_virtual_address),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.100/24", "fd00::100/64"]}),
]


class VipConfig(ResourceConfig):
    """A virtual address is put on an interface, announced to the network, and watched."""

    address: VirtualAddress
    """The address with the length of its network's prefix: `10.0.0.100/24`, `fd00::100/64`."""
    interface: Annotated[str, Field(pattern=r"^[^\s/:]{1,15}$")] | None = None
    """Where it is put; when absent, the one interface that has an address in the same network."""
    probe_count: int = Field(default=2, ge=0, le=10)
    """How often the network is asked whether another machine has the address, before it is taken. 0: never."""
    probe_wait: Duration = Duration(0.03)
    """How long an answer to each of these questions is waited for."""
    on_conflict: Literal["wait", "take"] = "wait"
    """When another machine answers for the address: wait until it no longer does (at most `conflict_wait`, then the
    start fails), or take it all the same."""
    conflict_wait: Duration = Duration(10)
    """How long a machine that still has the address is waited for."""
    refresh: Duration = Duration(60)
    """Time between two announcements while it is up, for switches and neighbours that forget. 0: none."""
    check: bool = True
    """Whether it is down when the address is removed behind our back, or its interface loses its link."""
    action: FailureAction = "stopstart"
    """What follows when it is down."""
    start_timeout: Duration = Duration(30)
    """A start that takes longer has failed."""
