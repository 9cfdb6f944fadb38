"""Cluster properties, and the meta attributes of resources."""

from __future__ import annotations

import re
from typing import Final

from safekit.importing.account import Account
from safekit.importing.draft import Draft, seconds
from safekit.importing.pacemaker.placement import Unit
from safekit.importing.pacemaker.values import pairs, span_s
from safekit.importing.xml import Attribute, Element

_STATE: Final = "it says what the cluster is, not what it should be"
_PROPERTIES: Final = {
    "have-watchdog": _STATE,
    "dc-version": _STATE,
    "cluster-infrastructure": _STATE,
    "cluster-name": "`safekit cluster init --name` says it",
    "last-lrm-refresh": _STATE,
    "stonith-enabled": "what fences is a step; without one nothing is fenced",
    "stonith-action": "a node is cut off, and not started again",
    "symmetric-cluster": "a module runs on the nodes that it names, or on all",
    "default-resource-stickiness": "a module stays where it is",
    "cluster-recheck-interval": "everything is an event here",
    "start-failure-is-fatal": "restarts are counted by max_loops",
    "enable-acl": "only root, or whom the API's roles allow, may command",
    "startup-fencing": "a node that starts fences nobody, and starts nothing alone",
}
_META: Final = {
    "resource-stickiness": "a module stays where it is",
    "is-managed": "",
    "promotable": "",
    "clone-max": "one on each node",
    "clone-node-max": "one on each node",
    "master-max": "one primary",
    "promoted-max": "one primary",
    "master-node-max": "one primary",
    "promoted-node-max": "one primary",
    "notify": "a promotable agent is told by `notify`",
    "globally-unique": "one on each node",
    "interleave": "modules wait for each other by checkers only",
    "ordered": "nodes start at the same time",
    "allow-migrate": "a module is stopped on one node and started on the other",
    "multiple-active": "the engine rules it out, with a witness or a fence step",
}
_OFF: Final = ("stopped", "false", "off", "no", "0")


class Options:
    def __init__(self, account: Account, of: dict[int, Draft]) -> None:
        self._account = account
        self._of = of

    def read(self, root: Element, modules: list[list[Unit]]) -> None:
        for holder in root.walk():
            if holder.tag == "crm_config":
                for name, value, pair in pairs(holder, "cluster_property_set"):
                    self._property(name, value, pair)
            elif holder.tag == "rsc_defaults":
                for name, value, pair in pairs(holder, "meta_attributes"):
                    self._meta(name, value, pair, list(self._of.values()))
        for members in modules:
            for unit in members:
                for element in unit.element.walk():
                    for name, value, pair in pairs(element, "meta_attributes"):
                        self._meta(name, value, pair, [self._of[id(unit)]])

    def _property(self, name: str, value: Attribute, pair: Element) -> None:
        if name in _PROPERTIES:
            self._imply(pair, _PROPERTIES[name])
        elif name == "no-quorum-policy":
            todo = "a lease witness says which side may run: see docs, Add a witness"
            self._lose(pair, "there is no quorum of nodes", todo)
        elif name == "maintenance-mode" and value.value.lower() in _OFF:
            self._imply(pair, "there is no such mode")
        else:
            self._lose(pair, "there is no such property")

    def _meta(self, name: str, value: Attribute, pair: Element, drafts: list[Draft]) -> None:
        text = value.value.strip().lower()
        if name == "migration-threshold" and re.fullmatch(r"[0-9]{1,4}", text) and 1 <= int(text) <= 1000:
            for draft in drafts:
                draft.content["max_loops"] = min(int(text), draft.content.get("max_loops", 1000))
            self._carry(pair, "max_loops", "one more failure stops the module; the other node takes over")
        elif name == "failure-timeout" and (timeout_s := span_s(text)) is not None:
            for draft in drafts:
                draft.content["loop_interval"] = seconds(timeout_s)
            self._carry(pair, "loop_interval")
        elif name == "target-role":
            self._role(pair, text)
        elif name == "is-managed" and text in _OFF:
            self._lose(pair, "what is in a module is started and stopped by it")
        elif name in _META:
            self._imply(pair, _META[name] or "that is what the module does")
        else:
            self._lose(pair, "there is no such attribute")

    def _role(self, pair: Element, text: str) -> None:
        if text in _OFF:
            self._lose(pair, "it is a command, and no setting", "do not start the module")
        else:
            self._imply(pair, "a module is started by `safekit module start`")

    def _carry(self, pair: Element, key: str, why: str = "") -> None:
        self._account.holds(pair)
        for name in ("name", "value"):
            self._account.carried(pair.attributes[name], f"its module: {key}", why=why)

    def _imply(self, pair: Element, why: str) -> None:
        for item in pair.items():
            self._account.implied(item, why)

    def _lose(self, pair: Element, why: str, todo: str = "") -> None:
        for item in pair.items():
            self._account.lost(item, why, todo)
