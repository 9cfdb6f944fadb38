"""stonith primitives: one step `fence` for each agent, in every mirror."""

from __future__ import annotations

import re
from typing import Any, Final

from safekit.importing.account import SECRET, Account, Item
from safekit.importing.draft import Draft, ident, seconds
from safekit.importing.pacemaker.steps import SECRETS
from safekit.importing.pacemaker.values import pairs, span_s
from safekit.importing.xml import Attribute, Element

MAX_DELAY_S: Final = 60.0
_AGENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OPTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_RESERVED: Final = ("action", "option", "agent", "nodename")
_HOSTS: Final = ("pcmk_host_list", "pcmk_host_map", "pcmk_host_check", "pcmk_host_argument")


class Fencing:
    """Gathers the devices, then writes the step."""

    def __init__(self, account: Account, nodes: tuple[str, ...]) -> None:
        self._account = account
        self._nodes = nodes
        self._devices: dict[str, dict[str, dict[str, Any]]] = {}
        """Agent to node to its options."""
        self._secrets: dict[str, dict[str, dict[str, str]]] = {}
        self._delays: dict[str, dict[str, float]] = {}
        self._said: list[tuple[str, Attribute, str]] = []
        self._primitives: list[tuple[str, Element]] = []

    def read(self, primitive: Element) -> None:
        agent = primitive.get("type")
        hosts = self._hosts(primitive)
        if not _AGENT.fullmatch(agent) or not hosts:
            for item in primitive.items():
                if not self._account.is_decided(item):
                    self._account.lost(item, "it does not say whom it fences", "write a step: fence")
            return
        self._primitives.append((agent, primitive))
        for node, plug in hosts.items():
            options = self._devices.setdefault(agent, {}).setdefault(node, {})
            options.update({"plug": plug} if plug else {})
        for name, value, pair in pairs(primitive, "instance_attributes"):
            self._account.holds(pair)
            self._account.implied(pair.attributes["name"], "its value tells")
            self._option(agent, hosts, name, value, primitive.get("id"))

    def write(self, drafts: list[Draft]) -> None:
        """In every mirror, first of all steps."""
        mirrors = [draft for draft in drafts if draft.content["kind"] == "mirror"]
        for agent, devices in self._devices.items():
            good = len(devices) >= 2 and set(self._nodes) <= set(devices) and mirrors
            for place, attribute, key in self._said:
                if place == agent and not self._account.is_decided(attribute):
                    self._tell(attribute, key, good=bool(good))
            if good:
                for draft in mirrors:
                    draft.content.setdefault("pipeline", []).insert(0, {"fence": self._settings(agent)})
        for agent, primitive in self._primitives:
            self._close(primitive, good=bool(mirrors) and set(self._nodes) <= set(self._devices[agent]))

    def _tell(self, attribute: Attribute, key: str, *, good: bool) -> None:
        if not good:
            self._account.lost(attribute, "a fence step needs every node's device, and a mirror", "write a step: fence")
            return
        file = key.partition("file:")[2]
        todo = f"write the secret to {file} on each node, mode 600" if file else ""
        self._account.carried(attribute, f"every mirror: pipeline.fence.{key}", todo=todo)

    def _close(self, primitive: Element, *, good: bool) -> None:
        own: list[Item] = [
            primitive,
            *(primitive.attributes[n] for n in ("class", "type", "id") if n in primitive.attributes),
        ]
        for item in primitive.items():
            if self._account.is_decided(item):
                continue
            if good and item in own:
                self._account.carried(item, "every mirror: pipeline.fence.agent")
            elif isinstance(item, Element) and item.tag in {"instance_attributes", "operations", "meta_attributes"}:
                self._account.holds(item)

    def _settings(self, agent: str) -> dict[str, Any]:
        settings: dict[str, Any] = {"agent": agent, "nodes": self._devices[agent]}
        if agent in self._secrets:
            settings["node_secrets"] = self._secrets[agent]
        if agent in self._delays:
            settings["delay"] = {node: seconds(delay_s) for node, delay_s in self._delays[agent].items()}
            settings["start_timeout"] = seconds(120 + max(self._delays[agent].values()))
        return settings

    def _hosts(self, primitive: Element) -> dict[str, str]:
        """Node to the plug that it has at the device; empty where the device is its own."""
        found = {name: value for name, value, _ in pairs(primitive, "instance_attributes") if name in _HOSTS}
        if "pcmk_host_map" in found:
            entries = re.findall(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,62})[:=]([^;\s]{1,64})", found["pcmk_host_map"].value)
            return {node: plug.partition(",")[0] for node, plug in entries[:32]}
        names = (
            re.findall(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", found["pcmk_host_list"].value)
            if "pcmk_host_list" in found
            else list(self._nodes)
        )
        return {node: node if len(names) > 1 else "" for node in names[:32]}

    def _option(self, agent: str, hosts: dict[str, str], name: str, value: Attribute, owner: str) -> None:
        if name in _HOSTS:
            self._said.append((agent, value, "nodes"))
        elif name in {"pcmk_delay_base", "pcmk_delay_max"}:
            self._delay(agent, hosts, name, value)
        elif name.startswith("pcmk_") or name in _RESERVED or not _OPTION.fullmatch(name):
            todo = "off_timeout, status_timeout, retries: see the README of fence"
            self._account.lost(value, "the step says `off` and asks `status`, with limits of its own", todo)
        elif SECRET.search(name):
            file = f"file:{SECRETS}/{ident(owner) or 'fence'}-{name}"
            for node in hosts:
                self._secrets.setdefault(agent, {}).setdefault(node, {})[name] = file
            self._said.append((agent, value, f"node_secrets, {file}"))
        elif len(value.value) > 1024 or re.search(r"[\x00-\x1f\x7f]", value.value):
            self._account.lost(value, "an option is one line of at most 1024 characters")
        else:
            for node in hosts:
                self._devices[agent][node][name] = value.value.replace("%", "%%")
            self._said.append((agent, value, f"nodes.{name}"))

    def _delay(self, agent: str, hosts: dict[str, str], name: str, value: Attribute) -> None:
        delay_s = span_s(value.value)
        if name == "pcmk_delay_max" or delay_s is None or delay_s > MAX_DELAY_S:
            why = "a delay is a fixed time of at most 1m for each node"
            self._account.lost(value, why, "delay: {NODE: 10s}, the node that is to live having the longer one")
            return
        for node in hosts:
            self._delays.setdefault(agent, {})[node] = delay_s
        self._said.append((agent, value, "delay"))
