"""What a module file says about the sharing of clients."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from safekit_sdk import Duration, FailureAction, Port, ResourceConfig

Address = IPv4Address | IPv6Address
Mode = Literal["directed", "invisible", "multicast"]
Hash = Literal["client_address", "client_session"]
Protocol = Literal["tcp", "udp"]
DEFAULT_SEED = 0x5AFE
Service = tuple[Address, Protocol, int]
"""What clients connect to: an address, a protocol and a port."""


class Rule(BaseModel):
    """How the clients of one port are told apart. What no rule names is shared by client address."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    port: Port
    """The port that clients connect to."""
    protocol: Protocol = "tcp"
    """tcp or udp."""
    hash: Hash = "client_address"
    """client_address: a client always reaches the same server; client_session: each of its connections may reach
    another, which shares the load of few clients better."""
    address: Address | None = None
    """Only for this one of `addresses`; for all when absent."""


class NftLbConfig(ResourceConfig):
    """Each server's kernel accepts its part of the clients of one or more virtual addresses."""

    addresses: tuple[Address, ...] = Field(min_length=1, max_length=16)
    """The virtual addresses, without a prefix length; a `vip` step each puts them on the interface."""
    mode: Mode = "directed"
    """How packets reach their server. directed: one of them answers for the address and forwards; invisible, multicast:
    all receive all packets, by a virtual hardware address that no switch learns."""
    rules: tuple[Rule, ...] = Field(default=(), max_length=256)
    """The ports that are shared in another way than by client address."""
    interface: Annotated[str, Field(pattern=r"^[^\s/:]{1,15}$")] | None = None
    """Where packets arrive; when absent, the one interface that has another address in the same network."""
    seed: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = DEFAULT_SEED
    """Of the hash; the same on every server. Another seed puts clients together in another way."""
    action: FailureAction = "stopstart"
    """What follows when the kernel's rules cannot be kept."""
    start_timeout: Duration = Duration(10)
    """A start that takes longer has failed."""
    stop_timeout: Duration = Duration(10)
    """A stop that takes longer is tried again by force."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.addresses)) != len(self.addresses):
            raise ValueError("an address is listed twice; remove one")
        seen: dict[Service, int] = {}
        for index, rule in enumerate(self.rules):
            if rule.address is not None and rule.address not in self.addresses:
                known = ", ".join(map(str, self.addresses))
                raise ValueError(f"rule {index + 1} is for {rule.address}, which is not one of the addresses ({known})")
            for address in self.of(rule):
                key: Service = (address, rule.protocol, rule.port)
                if key in seen:
                    where = f"rules {seen[key] + 1} and {index + 1}"
                    raise ValueError(f"{where} both are for {rule.protocol} port {rule.port} of {address}; remove one")
                seen[key] = index
        return self

    def hashes(self) -> dict[Service, Hash]:
        """Of each service that a rule names; all others are shared by client address."""
        return {(address, rule.protocol, rule.port): rule.hash for rule in self.rules for address in self.of(rule)}

    def of(self, rule: Rule) -> tuple[Address, ...]:
        """The addresses for which a rule is."""
        return self.addresses if rule.address is None else (rule.address,)
