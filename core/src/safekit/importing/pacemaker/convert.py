"""A CIB: modules from what constraints keep together, in the order in which they start it."""

from __future__ import annotations

import re
from typing import Final

from safekit.importing.account import Account, Item
from safekit.importing.draft import Conversion, Draft, free_name, plain_name
from safekit.importing.pacemaker.fencing import Fencing
from safekit.importing.pacemaker.locations import Locations
from safekit.importing.pacemaker.options import Options
from safekit.importing.pacemaker.placement import Placement, Unit, units
from safekit.importing.pacemaker.steps import Steps
from safekit.importing.source import Source
from safekit.importing.xml import Element
from safekit_sdk import ConfigError

_HOLDERS: Final = ("cib", "configuration", "crm_config", "nodes", "resources", "constraints", "cluster_property_set")
_SETS: Final = (
    "meta_attributes",
    "instance_attributes",
    "operations",
    "rsc_defaults",
    "op_defaults",
    "fencing-topology",
)
_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_NO_STATE: Final = "state of the running cluster, and no configuration"


def convert(source: Source, root: Element, account: Account) -> Conversion:
    resources = next((one for one in root.walk() if one.tag == "resources"), None)
    if resources is None:
        raise ConfigError(
            "there are no <resources>", where=source.where(root.place), hint="`cibadmin --query` prints a CIB"
        )
    return _Cib(source, root, resources, account).convert()


class _Cib:
    def __init__(self, source: Source, root: Element, resources: Element, account: Account) -> None:
        self._source = source
        self._root = root
        self._resources = resources
        self._account = account
        self._nodes = self._names()
        self._drafts: list[Draft] = []
        self._of: dict[int, Draft] = {}

    def convert(self) -> Conversion:
        templates = {one.get("id"): one for one in self._resources.each("template")}
        placement = Placement(self._account, list(units(self._resources)))
        constraints = [one for one in self._root.walk() if one.tag == "constraints"]
        for one in constraints:
            placement.read(one)
        steps = Steps(self._account, templates)
        for members in placement.modules():
            self._module(members, steps)
        self._dependencies(placement)
        self._fence()
        locations = Locations(self._account, self._nodes, self._of)
        locations.read(constraints, list(placement.modules()))
        Options(self._account, self._of).read(self._root, list(placement.modules()))
        self._rest()
        notes = locations.notes + self._notes()
        return Conversion(
            "pacemaker",
            self._source.filename,
            tuple(self._drafts),
            self._account.findings(),
            self._commands(),
            tuple(notes),
        )

    def _names(self) -> tuple[str, ...]:
        nodes = [one for outer in self._root.walk() if outer.tag == "nodes" for one in outer.each("node")]
        return tuple(dict.fromkeys(one.get("uname") for one in nodes if _NODE.fullmatch(one.get("uname"))))[:100]

    def _module(self, members: list[Unit], steps: Steps) -> None:
        """Named after the last unit: what it is there for."""
        name = free_name(plain_name(members[-1].name), self._drafts)
        clones = all(unit.nature == "clone" for unit in members)
        draft = Draft(name, {"kind": "light" if clones else "mirror", "pipeline": []})
        for unit in members:
            self._of[id(unit)] = draft
            self._told(unit, draft)
            for primitive in unit.primitives:
                steps.add(draft, primitive, promotable=unit.nature == "promotable")
        if draft.content["pipeline"]:
            self._drafts.append(draft)

    def _told(self, unit: Unit, draft: Draft) -> None:
        """Groups and clones; a primitive is told with its step."""
        for element in unit.element.walk():
            if element.tag in {"group", "clone", "master"}:
                self._account.carried(element, f"{draft.name}: pipeline")
                if "id" in element.attributes:
                    self._account.carried(element.attributes["id"], f"{draft.name}: pipeline")

    def _dependencies(self, placement: Placement) -> None:
        """A module that needs another waits until it is there."""
        told: set[tuple[str, str]] = set()
        for unit, needed, where in placement.needs:
            draft, other = self._of[id(unit)], self._of[id(needed)]
            if draft is not other and (draft.name, other.name) not in told:
                told.add((draft.name, other.name))
                draft.add("checkers", "module", {"name": other.name, "module": other.name, "on": where})

    def _fence(self) -> None:
        fencing = Fencing(self._account, self._nodes)
        for primitive in self._resources.each("primitive"):
            if primitive.get("class") == "stonith":
                fencing.read(primitive)
        for clone in self._resources.each("clone"):
            for primitive in clone.each("primitive"):
                if primitive.get("class") == "stonith":
                    fencing.read(primitive)
        fencing.write(self._drafts)

    def _rest(self) -> None:
        """What only holds others, what only names, and the state of the cluster."""
        for status in [one for one in self._root.walk() if one.tag == "status"]:
            for item in status.items():
                self._account.implied(item, _NO_STATE)
        for element in self._root.walk():
            if element.tag in _HOLDERS or element.tag in _SETS:
                self._settle(element, "")
            if (name := element.attributes.get("id")) is not None:
                self._settle(name, "it only names the element")
        for attribute in self._root.attributes.values():
            self._settle(attribute, "of the CIB itself")
        for node in [one for outer in self._root.walk() if outer.tag == "nodes" for one in outer.each("node")]:
            for item in (node, *(node.attributes[name] for name in ("uname", "type") if name in node.attributes)):
                self._settle(item, "the commands make the node")

    def _settle(self, item: Item, why: str) -> None:
        if not self._account.is_decided(item):
            if why:
                self._account.implied(item, why)
            else:
                self._account.holds(item)

    def _commands(self) -> tuple[str, ...]:
        made = []
        for number, node in enumerate(self._nodes):
            if number == 0:
                made.append(f"{node}: safekit cluster init --node {node} --address ADDRESS")
            else:
                made += [
                    f"{self._nodes[0]}: safekit cluster token",
                    f"{node}: safekit cluster join TOKEN --node {node} --address ADDRESS",
                ]
            made.append(f"{node}: safekit daemon start")
        return tuple(made)

    def _notes(self) -> list[str]:
        mirrors = [draft for draft in self._drafts if draft.content["kind"] == "mirror"]
        fenced = any("fence" in entry for draft in mirrors for entry in draft.content["pipeline"])
        if not mirrors or fenced:
            return []
        return ["no fence step could be written: without it, or a witness, nothing takes over after a crash by itself"]
