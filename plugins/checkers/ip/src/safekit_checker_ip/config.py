"""What a module file says about an address that has to be this machine's."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from safekit_sdk import CheckerConfig, Duration, FailureAction

Address = IPv4Address | IPv6Address


def _own_address(value: Any) -> Address:
    """One that a machine can have; the length of a network's prefix, as `vip` has it, is left out."""
    text = str(value).strip()
    try:
        found = ip_address(text)
    except ValueError:
        raise ValueError(f"'{text}' is not an address; write it as 10.0.0.100 or fd00::100, without /24") from None
    if found.is_unspecified or found.is_multicast:
        raise ValueError(f"{found} is the address of no machine")
    if "%" in text:
        raise ValueError(f"'{text}': say its interface with `interface:`")
    return found


OwnAddress = Annotated[
    Address,
    BeforeValidator(_own_address),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.100", "fd00::100"]}),
]


class IpConfig(CheckerConfig):
    """An address is on this machine, and on no other."""

    address: OwnAddress
    """The address, without the length of its network's prefix: `10.0.0.100`, `fd00::100`."""
    interface: Annotated[str, Field(pattern=r"^[!-.0-9;-~]{1,15}$")] | None = None
    """Where it has to be; on any when absent."""
    duplicate: Literal["down", "log", "ignore"] = "down"
    """When another machine answers for the address too: down, or a line in the log, or nobody is asked. In a farm
    nobody is: all its nodes have the address."""
    probe_wait: Duration = Duration(0.1)
    """How long an answer of another machine is waited for."""
    interval: Duration = Duration(10)
    """Time between two looks, each of which asks the network, when nothing is told of a change."""
    action: FailureAction = "stopstart"
    """What the generated rule does when the verdict is down."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.address.version == 6 and self.address.is_link_local and self.interface is None:
            raise ValueError(f"{self.address} may be on every link; say which with `interface:`")
        if not 0 < 2 * self.probe_wait.seconds < self.patience_s:
            raise ValueError(f"two waits of `probe_wait` ({self.probe_wait}) must fit in `timeout` ({self.timeout})")
        return self
