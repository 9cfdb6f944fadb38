"""What of a cluster's configuration a lab is made of, and what of it cannot be rehearsed there. Reads, changes nothing.

The nodes of the lab have the addresses of the real ones: their network leads nowhere, so that nothing has to be
translated, in the module's files or in those of the application."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from safekit_sdk import ConfigError

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
MAX_BYTES: Final = 1 << 20
MOST_NODES: Final = 16
HINDRANCES: Final[Mapping[str, str]] = {
    "fence": "no fence device reaches a node of the lab; the drill `fence` of the real cluster cuts real power",
    "kvm-vm": "the virtual machines of this machine's libvirt are not the lab's",
    "kvm": "the virtual machines of this machine's libvirt are not the lab's",
    "service": "systemd does not run in the nodes of a lab",
    "podman": "the containers of this machine are not the lab's",
}
"""By plugin, why a module with such a step is not rehearsed in a lab."""
_ADDRESS: Final = re.compile(r"(?<![\w.:])[0-9A-Fa-f:.]{2,45}(?![\w.:])")
_PREFIX_BITS: Final = {4: 24, 6: 64}
"""Where this machine is none of the nodes."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Network(_Part):
    name: str
    port: int


class ClusterNode(_Part):
    name: str
    addresses: dict[str, Address]
    """By network."""


class ClusterFile(_Part):
    name: str
    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    nodes: Annotated[tuple[ClusterNode, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_complete(self) -> ClusterFile:
        for network in self.networks:
            if all(network.name not in node.addresses for node in self.nodes):
                raise ValueError(f"no node has an address on {network.name}")
        return self


@dataclass(frozen=True, slots=True)
class Card:
    """An address of this machine, and the interface that has it."""

    name: str
    address: Interface


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a lab needs to know. Node I of the lab, from 1, is the I-th of `cluster.nodes`."""

    module: str
    etc: Path
    cluster: ClusterFile
    cards: tuple[Card, ...]
    unseen: tuple[str, ...]
    """Directories of this machine that are on other file systems than its root."""
    pipeline: tuple[tuple[str, Any], ...]
    """Plugin and settings of each step."""
    checkers: tuple[tuple[str, Any], ...]
    witness: tuple[str, Any] | None
    depends_on: bool

    @property
    def has_data(self) -> bool:
        return any(plugin == "rfs" for plugin, _ in self.pipeline)

    @property
    def token_file(self) -> str:
        """Where the nodes look for the witness's token; empty where no witness decides."""
        return str(self.witness[1].get("token", "")).removeprefix("file:") if self.witness else ""

    def card_of(self, network: str) -> str:
        """The name of the interface in that network on this machine, when it is one of the nodes."""
        return next((card.name for card in self.cards if card.address.ip in self._on(network)), "")

    def bits_of(self, network: str) -> int:
        own = next((card.address for card in self.cards if card.address.ip in self._on(network)), None)
        has_room = own is not None and own.network.num_addresses > 4
        return own.network.prefixlen if own and has_room else _PREFIX_BITS[self._on(network)[0].version]

    def elsewhere(self, network: str, address: Address) -> list[Address]:
        """The nodes of the network that are behind a router for the one with that address."""
        place = ipaddress.ip_interface(f"{address}/{self.bits_of(network)}").network
        return [one for one in self._on(network) if one not in place]

    def world(self, network: str) -> Interface:
        """A free address for the machine that plays all others. ConfigError when there is none."""
        bits, taken = self.bits_of(network), {*self._nodes(), *self._own()}
        place = ipaddress.ip_interface(f"{self._on(network)[0]}/{bits}").network
        last = place.num_addresses - 2
        for number in range(last, max(last - 1000, 0), -1):
            if place[number] not in taken:
                return ipaddress.ip_interface(f"{place[number]}/{bits}")
        raise ConfigError(f"no address of {place} is free for the lab's other machine", hint="rehearse without --lab")

    def strangers(self) -> list[Address]:
        """What the checkers name and is neither a node's nor the module's: others, which have to answer a ping."""
        named = set(_addresses(self.checkers)) - set(self._own()) - set(self._nodes())
        return sorted(
            (one for one in named if not (one.is_loopback or one.is_unspecified or one.is_multicast)), key=str
        )

    def hindrances(self) -> list[str]:
        """Why it cannot be rehearsed in a lab, a sentence each."""
        found = [f"step '{name}': {HINDRANCES[name]}" for name in dict(self.pipeline) if name in HINDRANCES]
        if self.depends_on:
            found.append("it depends on other modules, which are not copied")
        if self.witness and (
            self.witness[0] != "lease" or not str(self.witness[1].get("token", "")).startswith("file:")
        ):
            found.append("its witness is another one than `lease` with a token in a file")
        if len(self.cluster.nodes) > MOST_NODES:
            found.append(f"it has more than {MOST_NODES} nodes")
        return found

    def notes(self) -> Iterator[str]:
        """What is different from the real cluster."""
        names = ", ".join(node.name for node in self.cluster.nodes)
        yield f"the nodes {names} are namespaces here, with their real addresses, on networks that lead nowhere"
        yield "all have this machine's programs and files, as they are here; what they write is in memory, and goes"
        yield "CPU, memory and kernel are this machine's: a script that changes the kernel's settings changes them here"
        if unseen := self.unseen:
            yield f"{', '.join(unseen)}: on mounts of their own, which the lab does not see; what lies there is missing"
        if self.has_data:
            yield "replicated directories begin with what this machine's root has there; what is changed is in memory"
        if strangers := self.strangers():
            yield f"{', '.join(map(str, strangers))}: one machine that answers a ping, and no other question"
        if self.witness:
            yield "the witness is one of the lab's own"

    def _on(self, network: str) -> list[Address]:
        return [node.addresses[network] for node in self.cluster.nodes if network in node.addresses]

    def _nodes(self) -> Iterator[Address]:
        for node in self.cluster.nodes:
            yield from node.addresses.values()

    def _own(self) -> Iterator[Address]:
        return _addresses(self.pipeline)


def read(etc: Path, module: str, cards: tuple[Card, ...], unseen: tuple[str, ...] = ()) -> Blueprint:
    """ConfigError when there is no such cluster or module, or it cannot be read."""
    files = list(_parts(etc / "modules" / module, module))
    try:
        cluster = ClusterFile.model_validate(_load(etc / "cluster.yaml"))
    except ValidationError as error:
        hint = "`safekit cluster init` writes one; SAFEKIT_ETC names another directory"
        raise ConfigError(f"this is no cluster file: {error.errors()[0]['msg']}", where=str(etc), hint=hint) from None
    witness = [entry for file in files for entry in _entries([file.get("witness")])]
    return Blueprint(
        module=module,
        etc=etc,
        cluster=cluster,
        cards=cards,
        unseen=unseen,
        pipeline=tuple(entry for file in files for entry in _entries(file.get("pipeline"))),
        checkers=tuple(entry for file in files for entry in _entries(file.get("checkers"))),
        witness=witness[0] if witness else None,
        depends_on=any(file.get("depends_on") for file in files),
    )


def _parts(folder: Path, module: str) -> Iterator[dict[str, Any]]:
    """The module's file, and those that it includes."""
    if not (folder / "module.yaml").is_file():
        raise ConfigError(f"there is no module '{module}'", where=str(folder), hint="a folder with its module.yaml")
    yield (main := _load(folder / "module.yaml"))
    names = main.get("include")
    yield from (_load(folder / str(name)) for name in (names if isinstance(names, list) else ()))


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = YAML(typ="safe", pure=True).load(file.read(MAX_BYTES))
    except (OSError, YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"it cannot be read: {reason}", where=str(path), hint="`safekit validate` says more"
        ) from None
    return found if isinstance(found, dict) else {}


def _entries(given: Any) -> Iterator[tuple[str, Any]]:
    """`[{plugin: settings}, …]`; what has another form is refused by safekit itself, in the lab."""
    for entry in given if isinstance(given, list) else ():
        if isinstance(entry, str):
            yield entry, {}
        elif isinstance(entry, dict):
            yield from ((str(name), settings or {}) for name, settings in entry.items())


def _addresses(given: Iterable[tuple[str, Any]]) -> Iterator[Address]:
    """Every address that stands in the settings, also inside a URL."""
    for _, settings in given:
        for text in _ADDRESS.findall(str(settings)):
            try:
                yield ipaddress.ip_address(text)
            except ValueError:
                continue
