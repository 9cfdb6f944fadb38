"""The configuration in force on this node: the cluster, and each module's compiled form with its revision."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from safekit.bus import messages
from safekit.bus.keys import KeyPair
from safekit.bus.nodes import Listening, PeerAddress
from safekit.bus.sockets import LINK_UP_S
from safekit.config.cluster import Cluster
from safekit.config.compiled import CompiledModule
from safekit.config.durable import replace_file
from safekit.config.store import Store
from safekit.daemon.child import ask_child
from safekit.engine.spec import MembershipSpec, ModuleSpec
from safekit.settings import Settings
from safekit_sdk import ConfigError, PluginError

COMPILE_S: Final = 30.0
MAX_COMPILED_BYTES: Final = messages.MAX_HOST_BYTES - 65536


class Installed(BaseModel):
    """What `var/installed/NAME.json` holds: the compiled form belongs to exactly one digest of the files."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    revision: int
    digest: str
    compiled: CompiledModule

    @property
    def signature(self) -> str:
        return f"{self.revision}.{self.digest[:12]}"


Facts = dict[str, dict[str, str]]
"""Of one node, by resource."""


class _Written(BaseModel):
    """What every version has written there."""

    revision: int
    digest: str


@dataclass(frozen=True, slots=True)
class Compilation:
    compiled: CompiledModule
    findings: tuple[str, ...]
    """What on this machine would make a start fail."""
    warnings: tuple[str, ...]
    facts: Facts
    """What plugins compare with other nodes."""


class Configuration:
    def __init__(self, settings: Settings, pair: KeyPair) -> None:
        self._settings = settings
        self._pair = pair
        self.cluster = Cluster.load(settings.cluster_file)
        self.node = self._own_name(self.cluster)
        self.store = Store(settings.etc, settings.var)
        self.modules: dict[str, Installed] = {}

    def _own_name(self, cluster: Cluster) -> str:
        for node in cluster.nodes:
            if node.public_key == self._pair.public:
                return node.name
        raise ConfigError(
            "this node's key is not in the cluster file: it belongs to another cluster, or was removed",
            where=str(self._settings.cluster_file),
            hint="let the node join again: `safekit cluster join TOKEN`",
        )

    def _installed_file(self, module: str) -> Path:
        return self._settings.var / "installed" / f"{module}.json"

    async def load_modules(self) -> list[str]:
        """Read every module in force. Return one sentence for each that cannot be used; the others go on."""
        troubles = []
        for module in self.store.modules():
            try:
                self.modules[module] = await self._load(module)
            except Exception as error:  # one broken module is not to keep the others from running
                troubles.append(f"module '{module}' cannot be used: {error}")
        return troubles

    async def _load(self, module: str) -> Installed:
        digest = self.store.digest(module)
        path = self._installed_file(module)
        revision = 1
        if path.exists():
            written = _Written.model_validate_json(path.read_bytes())
            with contextlib.suppress(ValidationError):  # of another version: the same revision, compiled by this one
                if written.digest == digest:
                    return Installed.model_validate_json(path.read_bytes())
            revision = written.revision + (written.digest != digest)
        compilation = await self.compile(module, self.store.directory(module))
        return self.remember(module, revision, digest, compilation.compiled)

    def remember(self, module: str, revision: int, digest: str, compiled: CompiledModule) -> Installed:
        installed = Installed(revision=revision, digest=digest, compiled=compiled)
        path = self._installed_file(module)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, installed.model_dump_json().encode(), 0o600)
        self.modules[module] = installed
        return installed

    def forget(self, module: str) -> None:
        self.modules.pop(module, None)
        self._installed_file(module).unlink(missing_ok=True)

    def adopt_cluster(self, cluster: Cluster) -> None:
        """Take a newer cluster file; ConfigError when it is another cluster's or has no place for this node."""
        if cluster.id != self.cluster.id:
            raise ConfigError("this is the configuration of another cluster; it was refused")
        if self._own_name(cluster) != self.node:
            raise ConfigError(f"in this cluster file node '{self.node}' has another name; it was refused")
        cluster.save(self._settings.cluster_file)
        self.cluster = cluster

    async def compile(self, module: str, directory: Path) -> Compilation:
        """Compile a module's files in a process of its own, which may import plugins and is bounded in time."""
        request = {
            "module": module,
            "directory": str(directory),
            "nodes": [node.name for node in self.cluster.nodes],
            "node": self.node,
        }
        answer = await self.ask_compiler(request)
        return Compilation(
            CompiledModule.model_validate(answer["compiled"]),
            tuple(answer["findings"]),
            tuple(answer["warnings"]),
            answer["facts"],
        )

    async def confront(self, compiled: CompiledModule, facts: dict[str, Facts]) -> dict[str, list[str]]:
        """What does not fit together between the nodes, by the node where it is mended; likewise in a process."""
        request = {"question": "confront", "compiled": compiled.model_dump(mode="json"), "facts": facts}
        found: dict[str, list[str]] = (await self.ask_compiler(request))["findings"]
        return found

    async def ask_compiler(self, request: dict[str, Any]) -> dict[str, Any]:
        """A question to the process in which plugins are imported; the error that it answers with."""
        answer = await _in_another_process(json.dumps(request).encode())
        if answer.get("error"):
            messages.raise_body(messages.ErrorBody.model_validate(answer["error"]))
        return answer

    def membership(self) -> MembershipSpec:
        """The tightest heartbeat that any module asks for serves all of them."""
        heartbeats = [installed.compiled.heartbeat for installed in self.modules.values()]
        return MembershipSpec(
            node=self.node,
            peers=tuple(node.name for node in self.cluster.nodes if node.name != self.node),
            networks=tuple(network.name for network in self.cluster.networks),
            heartbeat_interval_s=min((h.interval.seconds for h in heartbeats), default=0.1),
            lost_after_s=min((h.lost_after.seconds for h in heartbeats), default=1.0),
            link_up_s=LINK_UP_S,
        )

    def specs(self) -> tuple[ModuleSpec, ...]:
        """The modules that this node has a part in."""
        specs = ((installed.compiled.to_spec(self.node), installed) for installed in self.modules.values())
        return tuple(replace(spec, signature=i.signature) for spec, i in specs if self.node in spec.nodes)

    def modules_of(self, node: str) -> list[str]:
        """The modules whose configuration in force has this node."""
        return sorted(name for name, installed in self.modules.items() if node in installed.compiled.nodes)

    def listening(self) -> set[Listening]:
        own = next(node for node in self.cluster.nodes if node.name == self.node)
        return {
            Listening(network.name, own.addresses[network.name], network.port)
            for network in self.cluster.networks
            if network.name in own.addresses
        }

    def addresses(self, name: str) -> dict[str, str]:
        """Of a node, by network, in the order of the networks."""
        known = next((node.addresses for node in self.cluster.nodes if node.name == name), {})
        return {network.name: known[network.name] for network in self.cluster.networks if network.name in known}

    def peers(self) -> set[PeerAddress]:
        return {
            PeerAddress(node.name, network.name, node.addresses[network.name], network.port, node.public_key)
            for node in self.cluster.nodes
            for network in self.cluster.networks
            if node.name != self.node and network.name in node.addresses
        }


async def _in_another_process(request: bytes) -> dict[str, Any]:
    try:
        out = await ask_child(("safekit.host", "--compile"), request, time_s=COMPILE_S, limit_bytes=MAX_COMPILED_BYTES)
    except TimeoutError:
        raise PluginError(
            f"compiling took longer than {COMPILE_S:g} s: a plugin hangs while it is imported",
            hint="`safekit plugins list` shows the packages; remove the last one installed",
        ) from None
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError:
        raise PluginError(
            "compiling ended without a result, or with one that is too large: a plugin ends the process or prints",
            hint="run `safekit validate` on this node to see which",
        ) from None
    return answer
