"""Which resources are one module: those that constraints keep on one node. What is placed as one is a unit: a
primitive, a group, a clone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from safekit.importing.account import Account
from safekit.importing.pacemaker.values import INFINITY, score
from safekit.importing.xml import Element

Nature = Literal["plain", "clone", "promotable"]
_TRUE: Final = ("true", "on", "yes", "1", "y")
_PROMOTED: Final = ("master", "promoted")


@dataclass(eq=False)
class Unit:
    name: str
    element: Element
    nature: Nature
    primitives: list[Element]
    names: set[str] = field(default_factory=set)
    """Its own, its group's, its primitives'."""


def units(resources: Element) -> Iterator[Unit]:
    for element in resources.children:
        if element.tag == "primitive":
            if element.get("class") != "stonith":
                yield Unit(element.get("id"), element, "plain", [element], {element.get("id")})
        elif element.tag == "group":
            yield Unit(element.get("id"), element, "plain", element.each("primitive"), _names(element))
        elif element.tag in {"clone", "master"}:
            inner = [one for group in (element, *element.each("group")) for one in group.each("primitive")]
            nature: Nature = "promotable" if element.tag == "master" or _is_promotable(element) else "clone"
            yield Unit(element.get("id"), element, nature, inner, _names(element))


def _names(element: Element) -> set[str]:
    return {one.get("id") for one in element.walk() if one.tag in {"primitive", "group", "clone", "master"}}


def _is_promotable(clone: Element) -> bool:
    pairs = [pair for outer in clone.each("meta_attributes") for pair in outer.each("nvpair")]
    return any(pair.get("name") == "promotable" and pair.get("value").lower() in _TRUE for pair in pairs)


class Placement:
    """Modules out of units, by `<constraints>`."""

    def __init__(self, account: Account, found: list[Unit]) -> None:
        self._account = account
        self._units = found
        self._module = {id(unit): number for number, unit in enumerate(found)}
        self._orders: list[tuple[Unit, Unit]] = []
        self.needs: list[tuple[Unit, Unit, str]] = []
        """The first needs the second, which is another module: on `any` node, or on `this`."""

    def read(self, constraints: Element) -> None:
        for constraint in constraints.each("rsc_colocation"):
            self._together(constraint)
        for constraint in constraints.each("rsc_order"):
            self._in_order(constraint)

    def modules(self) -> list[list[Unit]]:
        """In each, what is promoted first, then by the orders."""
        gathered: dict[int, list[Unit]] = {}
        for unit in self._units:
            gathered.setdefault(self._module[id(unit)], []).append(unit)
        return [self._sorted(members) for members in gathered.values()]

    def _sorted(self, members: list[Unit]) -> list[Unit]:
        """Stable; an order that goes round in a circle is not followed."""
        waiting, done = sorted(members, key=lambda unit: unit.nature != "promotable"), list[Unit]()
        while waiting:
            free = [
                unit for unit in waiting if not any(then is unit and first in waiting for first, then in self._orders)
            ]
            chosen = (free or waiting)[0]
            waiting.remove(chosen)
            done.append(chosen)
        return done

    def _find(self, name: str) -> Unit | None:
        return next((unit for unit in self._units if name in unit.names), None)

    def _sets(self, constraint: Element) -> list[Unit | None]:
        """What the `<resource_set>`s name, in their order."""
        return [
            self._find(one.get("id")) for outer in constraint.each("resource_set") for one in outer.each("resource_ref")
        ]

    def _together(self, constraint: Element) -> None:
        parts = self._sets(constraint) or [self._find(constraint.get("with-rsc")), self._find(constraint.get("rsc"))]
        members = [unit for unit in parts if unit is not None]
        role = (constraint.get("with-rsc-role") or constraint.get("rsc-role") or "Started").lower()
        bound = constraint.first("resource_set") is not None and "score" not in constraint.attributes
        if len(members) != len(parts) or len(members) < 2 or not (bound or score(constraint.get("score")) == INFINITY):
            self._lose(constraint, "modules are kept together only by being one: with a score of INFINITY")
            return
        if role not in {"started", *_PROMOTED}:
            self._lose(constraint, "nothing is kept with what is not promoted")
            return
        base = members[0]
        for unit in members[1:]:
            self._join(base, unit, constraint)

    def _join(self, base: Unit, unit: Unit, constraint: Element) -> None:
        clones = [one for one in (base, unit) if one.nature == "clone"]
        if len(clones) == 2 or (clones and unit.nature == "clone"):
            self._lose(constraint, "a clone runs on every node: nothing has to be kept with it")
        elif clones or (base.nature == unit.nature == "promotable" and base is not unit):
            self.needs.append((unit, base, "this"))
            self._tell(constraint, f"a checker `module` looks that {base.name} runs on the node")
        else:
            old, new = self._module[id(unit)], self._module[id(base)]
            self._module = {key: new if number == old else number for key, number in self._module.items()}
            self._tell(constraint, f"{base.name} and {unit.name} are one module")

    def _in_order(self, constraint: Element) -> None:
        parts = self._sets(constraint) or [self._find(constraint.get("first")), self._find(constraint.get("then"))]
        members = [unit for unit in parts if unit is not None]
        kind = constraint.get("kind") or ("Mandatory" if score(constraint.get("score") or "INFINITY") else "Optional")
        if len(members) != len(parts) or len(members) < 2:
            self._lose(constraint, "it names what is not there")
            return
        for first, then in itertools.pairwise(members):
            self._order(first, then, kind, constraint)

    def _order(self, first: Unit, then: Unit, kind: str, constraint: Element) -> None:
        if self._module[id(first)] == self._module[id(then)]:
            self._orders.append((first, then))
            self._tell(constraint, f"the pipeline starts {first.name} before {then.name}")
        elif kind == "Mandatory" and not constraint.get("first-action").startswith(("stop", "demote")):
            self.needs.append((then, first, "any"))
            self._tell(constraint, f"a checker `module` lets {then.name} wait for {first.name}")
        else:
            self._lose(
                constraint,
                "modules wait for each other, or do not know of each other",
                "a checker `module`, and a rule",
            )

    def _tell(self, constraint: Element, to: str) -> None:
        for item in constraint.items():
            if item is not constraint.attributes.get("id"):
                self._account.carried(item, to)

    def _lose(self, constraint: Element, why: str, todo: str = "") -> None:
        for item in constraint.items():
            self._account.lost(item, why, todo)
