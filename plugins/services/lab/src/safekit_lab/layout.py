"""What a lab is made of, and the names and addresses that follow from it. Pure."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .error import LabError
from .terms import Role

_MAX_NODES = 150
_FIRST_CLIENT_HOST = 200
_MAX_CLIENTS = 50
_ETHERNET_PREFIX = "02:5a"  # locally administered


class Bind(BaseModel):
    """A path of the host seen inside every node."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Path
    target: Path
    writable: bool = False


class Machine(BaseModel):
    """A node or a client: one set of namespaces. host is the last part of its addresses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    role: Role
    host: int


class LabSpec(BaseModel):
    """All that `lab up` was asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    nodes: Annotated[int, Field(ge=1, le=_MAX_NODES)]
    clients: Annotated[int, Field(ge=0, le=_MAX_CLIENTS)] = 0
    networks: Annotated[int, Field(ge=1, le=16)] = 1
    ipv6: bool = True
    mtu: Annotated[int, Field(ge=1280, le=65535)] = 1500
    disk: Path | None = None
    disk_size_bytes: Annotated[int, Field(ge=1 << 20)] = 512 << 20
    binds: tuple[Bind, ...] = ()
    owner_pid: int | None = None

    @property
    def machines(self) -> tuple[Machine, ...]:
        nodes = (Machine(name=f"node{i}", role="node", host=i) for i in range(1, self.nodes + 1))
        clients = (
            Machine(name=f"client{i}", role="client", host=_FIRST_CLIENT_HOST + i) for i in range(1, self.clients + 1)
        )
        return (*nodes, *clients)

    def machine(self, name: str) -> Machine:
        for machine in self.machines:
            if machine.name == name:
                return machine
        known = ", ".join(machine.name for machine in self.machines)
        raise LabError(f"lab {self.name} has no node {name!r}; it has {known}")

    def check_network(self, network: int) -> int:
        if 0 <= network < self.networks:
            return network
        raise LabError(f"lab {self.name} has no network {network}; its networks are 0 to {self.networks - 1}")


def ipv4(machine: Machine, network: int) -> str:
    return f"10.77.{network}.{machine.host}"


def ipv6(machine: Machine, network: int) -> str:
    """The digits of the IPv4 address, read as hexadecimal: node10 is fd77:0::10."""
    return f"fd77:{network}::{machine.host}"


def ethernet(machine: Machine, network: int) -> str:
    """The same after every boot, as for a real card: the peers' ARP tables stay right."""
    return f"{_ETHERNET_PREFIX}:{network:02x}:00:{machine.host >> 8:02x}:{machine.host & 0xFF:02x}"


def port(machine_name: str, network: int) -> str:
    """The switch's end of a machine's cable."""
    return f"{machine_name}-{network}"


def bridge(network: int) -> str:
    return f"br{network}"


def interface(network: int) -> str:
    return f"eth{network}"


def hosts_file(spec: LabSpec) -> str:
    """/etc/hosts: NAME is a machine's first network, NAME.netK its network K."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", *_hosts_lines(spec)]
    return "\n".join(lines) + "\n"


def _hosts_lines(spec: LabSpec) -> Iterator[str]:
    for machine in spec.machines:
        for network in range(spec.networks):
            names = f"{machine.name} {machine.name}.net0" if network == 0 else f"{machine.name}.net{network}"
            yield f"{ipv4(machine, network)} {names}"
            if spec.ipv6:
                yield f"{ipv6(machine, network)} {names}"


def machine_id(spec: LabSpec, machine: Machine) -> str:
    return hashlib.sha256(f"{spec.name}/{machine.name}".encode()).hexdigest()[:32]
