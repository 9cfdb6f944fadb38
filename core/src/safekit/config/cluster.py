"""The cluster file: who belongs to it, at which addresses, known by which keys."""

from __future__ import annotations

import io
import ipaddress
import itertools
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from ruamel.yaml import YAML

from safekit.config.durable import replace_file
from safekit.config.module import NodeName
from safekit.config.problems import plain, validate
from safekit.config.text import read
from safekit_sdk import ConfigError, Port

MAX_NODES: Final = 100
MAX_NETWORKS: Final = 8
DEFAULT_NETWORK: Final = "lan"
DEFAULT_PORT: Final = 4800
_HEADER: Final = "# Written by safekit; change it with `safekit cluster`.\n"


def _address(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"'{text}' is not an IPv4 or IPv6 address") from None
    if found.is_unspecified or found.is_multicast:
        raise ValueError(f"{found} is no address of one machine")
    return str(found)


Address = Annotated[str, Field(max_length=64), AfterValidator(_address)]
PublicKey = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}$")]
"""Z85, 40 characters."""
NetworkName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Network(_Part):
    name: NetworkName
    """What the nodes' addresses and the commands call it."""
    port: Port = DEFAULT_PORT
    """Of the traffic between nodes."""


class ClusterNode(_Part):
    name: NodeName
    """What modules, commands and the other nodes call it."""
    public_key: PublicKey
    """The Z85 form of its CURVE key: who has the other half is this node."""
    addresses: dict[NetworkName, Address] = Field(min_length=1, max_length=MAX_NETWORKS)
    """Network to address; a node need not be on all networks."""


class Cluster(_Part):
    name: NodeName
    """For people."""
    id: uuid.UUID
    """Two clusters of one name are told apart by it."""
    revision: int = Field(ge=1)
    """Grows with every change; the higher one is the newer one."""
    networks: tuple[Network, ...] = Field(min_length=1, max_length=MAX_NETWORKS)
    """In the order of preference."""
    nodes: tuple[ClusterNode, ...] = Field(min_length=1, max_length=MAX_NODES)
    """The machines that belong to it; a key that is not among theirs is not heard."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [*self._twice(), *self._lost()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _twice(self) -> Iterator[str]:
        names = [network.name for network in self.networks]
        yield from (f"two networks are called '{name}'" for name in _repeated(names))
        yield from (f"two nodes are called '{name}'" for name in _repeated([node.name for node in self.nodes]))
        for key in _repeated([node.public_key for node in self.nodes]):
            owners = " and ".join(node.name for node in self.nodes if node.public_key == key)
            yield f"{owners} have the same key"
        for address in _repeated([address for node in self.nodes for address in node.addresses.values()]):
            owners = " and ".join(node.name for node in self.nodes if address in node.addresses.values())
            yield f"{owners}: the address {address} is there twice"

    def _lost(self) -> Iterator[str]:
        names = {network.name for network in self.networks}
        for node in self.nodes:
            for network in node.addresses.keys() - names:
                yield f"{node.name} has an address on '{network}', which is no network of the cluster"
        for one, other in itertools.combinations(self.nodes, 2):
            if not one.addresses.keys() & other.addresses.keys():
                yield f"{one.name} and {other.name} have no network in common"

    @classmethod
    def new(cls, name: str, node: str, addresses: Mapping[str, str], public_key: str, port: int = DEFAULT_PORT) -> Self:
        """A cluster of one node. The empty network name stands for the first network, called `lan`."""
        named = {network or DEFAULT_NETWORK: address for network, address in addresses.items()}
        return cls._checked(
            {
                "name": name,
                "id": str(uuid.uuid4()),
                "revision": 1,
                "networks": [{"name": network, "port": port} for network in named],
                "nodes": [{"name": node, "public_key": public_key, "addresses": named}],
            }
        )

    def with_node(self, name: str, addresses: Mapping[str, str], public_key: str) -> Self:
        """The next revision, with this node in it. ConfigError when its name, an address or the key is taken."""
        if any(node.name == name for node in self.nodes):
            raise ConfigError(f"there is a node '{name}' already", hint="join with another --node NAME")
        node: dict[str, Any] = {"name": name, "public_key": public_key, "addresses": dict(addresses)}
        return self._next([*self._plain_nodes(), node])

    def without_node(self, name: str) -> Self:
        """The next revision, without this node."""
        if all(node.name != name for node in self.nodes):
            raise ConfigError(f"there is no node '{name}'", hint=f"there are: {self._names()}")
        return self._next([node for node in self._plain_nodes() if node["name"] != name])

    def with_network(self, name: str, port: int, addresses: Mapping[str, str]) -> Self:
        """The next revision, with one more network; `addresses` of nodes, which need not be all."""
        if any(network.name == name for network in self.networks):
            raise ConfigError(f"there is a network '{name}' already")
        for strange in addresses.keys() - {node.name for node in self.nodes}:
            raise ConfigError(f"there is no node '{strange}'", hint=f"there are: {self._names()}")
        if not addresses:
            raise ConfigError(f"no node has an address on '{name}'", hint="NODE=ADDRESS, one for each node")
        nodes = self._plain_nodes()
        for node in nodes:
            if node["name"] in addresses:
                node["addresses"] = {**node["addresses"], name: addresses[node["name"]]}
        networks = [*self.model_dump(mode="json")["networks"], {"name": name, "port": port}]
        return self._next(nodes, networks)

    def without_network(self, name: str) -> Self:
        """The next revision, without this network and the nodes' addresses on it."""
        left = [network for network in self.model_dump(mode="json")["networks"] if network["name"] != name]
        if len(left) == len(self.networks):
            known = ", ".join(network.name for network in self.networks)
            raise ConfigError(f"there is no network '{name}'", hint=f"there are: {known}")
        nodes = self._plain_nodes()
        for node in nodes:
            node["addresses"] = {network: at for network, at in node["addresses"].items() if network != name}
            if not node["addresses"]:
                raise ConfigError(f"{node['name']} has no address on another network")
        return self._next(nodes, left)

    def _names(self) -> str:
        return ", ".join(node.name for node in self.nodes)

    def not_before(self, revision: int) -> Self:
        """The same, with at least this revision: what comes next is newer for every member."""
        return self if revision <= self.revision else self.model_copy(update={"revision": revision})

    def _plain_nodes(self) -> list[dict[str, Any]]:
        return [node.model_dump(mode="json") for node in self.nodes]

    def _next(self, nodes: list[dict[str, Any]], networks: list[dict[str, Any]] | None = None) -> Self:
        changed = {"revision": self.revision + 1, "nodes": nodes} | ({"networks": networks} if networks else {})
        return self._checked({**self.model_dump(mode="json"), **changed})

    @classmethod
    def _checked(cls, content: dict[str, object]) -> Self:
        """ConfigError instead of pydantic's own, for values that came from a command line or another node."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ConfigError(plain(error)) from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """ConfigError when there is none, ConfigErrors with each place that is wrong."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            hint = "`safekit cluster init` makes a cluster, `safekit cluster join TOKEN` joins one"
            raise ConfigError("this node is in no cluster", where=str(path), hint=hint) from None
        except OSError as error:
            raise ConfigError(f"the cluster file cannot be read: {error.strerror}", where=str(path)) from None
        return cls._read(data, str(path))

    @classmethod
    def from_text(cls, text: str, where: str) -> Self:
        return cls._read(text.encode(), where)

    @classmethod
    def _read(cls, data: bytes, filename: str) -> Self:
        document = read(data, filename)
        if not isinstance(document.value, dict):
            raise ConfigError("a cluster file is a mapping of keys to values", where=document.where(()))
        return validate(cls, document)

    def to_text(self) -> str:
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        out = io.StringIO()
        yaml.dump(self.model_dump(mode="json"), out)
        return _HEADER + out.getvalue()

    def save(self, path: Path) -> None:
        """The old file or the new one, whatever happens; readable by its owner only."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, self.to_text().encode(), 0o600)


def _repeated(values: list[str]) -> list[str]:
    return sorted({value for value in values if values.count(value) > 1})
