"""Some addresses that are always there: a node that reaches none of them is isolated, and must not run a module."""

from __future__ import annotations

import asyncio
import re
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Self

from pydantic import Field, field_validator, model_validator

from safekit_sdk import Duration, Lease, ModuleKind, PeerError, Witness, WitnessConfig
from safekit_witness_ping.race import first
from safekit_witness_ping.reach import reach, trouble_with

Address = IPv4Address | IPv6Address


class PingConfig(WitnessConfig):
    hosts: tuple[Address, ...] = Field(min_length=1, max_length=8)
    """Addresses of what is always there, in every network between the nodes, and of neither node: routers, switches.
    All are asked at the same time; one that answers is enough."""
    timeout: Duration = Duration(1)
    """How long the hosts have to answer; three requests to each are spread over nine tenths of it."""
    lease: Duration = Duration(4)
    """How long one answer counts. A node that reaches neither a host nor its peer stops the module within this time. At
    least twice `timeout`, so that one silent call costs nothing."""

    @field_validator("hosts")
    @classmethod
    def _can_be_asked(cls, hosts: tuple[Address, ...]) -> tuple[Address, ...]:
        for host in hosts:
            if host.is_multicast or host.is_unspecified:
                raise ValueError(f"{host} is not the address of one host; name a router or a switch")
            if hosts.count(host) > 1:
                raise ValueError(f"{host} is named twice; remove one")
        return hosts

    @model_validator(mode="after")
    def _outlives_a_silence(self) -> Self:
        if not 0 < self.timeout.seconds <= self.lease.seconds / 2:
            raise ValueError(f"timeout: {self.timeout} is not within 0 and half of lease: {self.lease}")
        return self


class PingWitness(Witness[PingConfig], api=1):
    """Says yes to every node that reaches one of some addresses by ping. It sees an isolated node; it does not keep two
    nodes that both reach them from running a module at the same time."""

    exclusive = False

    async def acquire(self, module: str, node: str, epoch: int, after: int | None = None) -> Lease:  # noqa: ARG002
        """PeerError when no host answers in time. All may have it, and nobody knows who had it: `after` is ignored."""
        return await self._lease(epoch)

    async def renew(self, module: str, node: str, epoch: int) -> Lease:  # noqa: ARG002 - all may have it
        """PeerError when no host answers in time."""
        return await self._lease(epoch)

    async def release(self, module: str, node: str, epoch: int) -> None:
        """Nothing is kept, so nothing is given back."""

    async def probe(self, module: str, node: str) -> str:  # noqa: ARG002 - the same for all
        """How each host answered. PeerError when none did."""
        hosts = list(map(str, self.config.hosts))
        times = await asyncio.gather(*(reach(host, self.config.patience_s) for host in hosts))
        if not any(time_ms is not None for time_ms in times):
            raise self._silence()
        told = zip(hosts, times, strict=True)
        return "; ".join(f"{host}: {_words(time_ms)}" for host, time_ms in told)

    async def _lease(self, epoch: int) -> Lease:
        found = await first(reach(str(host), self.config.patience_s) for host in self.config.hosts)
        if found is None:
            raise self._silence()
        return Lease(epoch=max(epoch, 1), ttl_s=self.config.lease.seconds)

    def _silence(self) -> PeerError:
        hosts = ", ".join(map(str, self.config.hosts))
        return PeerError(
            f"no answer to ping from {hosts} within {self.config.timeout}",
            hint="this node is cut off, or they are off or do not answer to ping: see its links and routes",
        )

    @classmethod
    def ident(cls, config: PingConfig) -> str:
        """The first host."""
        if config.name:
            return config.name
        text = re.sub(r"[^A-Za-z0-9_.:-]", "_", str(config.hosts[0]))[:62]
        return f"_{text}" if text.startswith(":") else text

    @classmethod
    def preflight(cls, config: PingConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        hosts = list(map(str, config.hosts))
        lacking = {":" in host: trouble for host in hosts if (trouble := trouble_with(host))}
        own = [f"{host} is an address of this node and always answers; name a router" for host in hosts if _own(host)]
        return [*lacking.values(), *own]


def _words(time_ms: float | None) -> str:
    return "no answer" if time_ms is None else f"answered in {time_ms:.1f} ms"


def _own(address: str) -> bool:
    """Only an address of this node can be bound."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
