"""`<rsc_location>`: the nodes of a module, and the one that it prefers."""

from __future__ import annotations

from typing import Final

from safekit.importing.account import Account
from safekit.importing.draft import Draft
from safekit.importing.pacemaker.placement import Unit
from safekit.importing.pacemaker.values import INFINITY, score
from safekit.importing.xml import Element

_BACK: Final = "the module moves back to it once it is ready; remove default_primary if it is to stay where it is"
_PAIR: Final = 2


class Locations:
    def __init__(self, account: Account, nodes: tuple[str, ...], of: dict[int, Draft]) -> None:
        self._account = account
        self._nodes = nodes
        self._of = of
        self._banned: dict[str, set[str]] = {}
        self._liked: dict[str, dict[str, int]] = {}
        self.notes: list[str] = []

    def read(self, constraints: list[Element], modules: list[list[Unit]]) -> None:
        drafts = {name: self._of[id(unit)] for members in modules for unit in members for name in unit.names}
        for location in [one for outer in constraints for one in outer.each("rsc_location")]:
            self._location(location, drafts.get(location.get("rsc")))
        for draft in {id(draft): draft for draft in drafts.values()}.values():
            self._choose(draft)

    def _location(self, location: Element, draft: Draft | None) -> None:
        node, points = location.get("node"), score(location.get("score"))
        if draft is None or node not in self._nodes or points is None:
            self._lose(
                location,
                "only a node and a score are understood, no rules",
                "nodes:, default_primary:, or a failover rule",
            )
        elif points <= -INFINITY:
            self._banned.setdefault(draft.name, set()).add(node)
            self._tell(location, f"{draft.name}: nodes")
        elif points < 0:
            self._lose(
                location, "a node has a module or has it not", f"take {node} from nodes: if it is not to run there"
            )
        elif draft.content["kind"] == "mirror":
            best = max(self._liked.setdefault(draft.name, {}).values(), default=-1)
            self._liked[draft.name][node] = points
            if points > best:
                self._tell(location, f"{draft.name}: default_primary", _BACK)
            else:
                self._tell(location, f"{draft.name}: the order of nodes")
        else:
            self._tell(location, f"{draft.name}: nodes", "it runs on every one of its nodes")

    def _choose(self, draft: Draft) -> None:
        liked, banned = self._liked.get(draft.name, {}), self._banned.get(draft.name, set())
        order = sorted((node for node in self._nodes if node not in banned), key=lambda node: -liked.get(node, 0))
        mirror = draft.content["kind"] == "mirror"
        if mirror and len(order) > _PAIR:
            left = ", ".join(order[_PAIR:])
            self.notes.append(
                f"{draft.name}: a mirror has two nodes; it does not run on {left}. Change `nodes` if others are meant"
            )
            order = order[:_PAIR]
        if order and (banned or len(order) < len(self._nodes)):
            draft.put("nodes", order)
        best = max(liked, key=lambda node: liked[node], default="")
        if best in order and mirror:
            draft.put("default_primary", best)

    def _tell(self, location: Element, key: str, todo: str = "") -> None:
        for item in location.items():
            if item is not location.attributes.get("id"):
                self._account.carried(item, key, todo=todo if item is location.attributes.get("node") else "")

    def _lose(self, location: Element, why: str, todo: str) -> None:
        for item in location.items():
            self._account.lost(item, why, todo)
