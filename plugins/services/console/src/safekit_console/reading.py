"""What is looked up for the API and the pages alike."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any, Final

from safekit_console.access import Asker
from safekit_console.errors import not_found
from safekit_console.history import ENTRIES, Course, courses
from safekit_console.outlook import Nodes, Sentence, Traits, headline, if_it_died
from safekit_console.panels import Shown, facts_of
from safekit_console.parts import Console
from safekit_sdk import SafekitError

LINE_KINDS: Final = ("decision", "log")
MAX_LINES: Final = 1000
SAME_S: Final = 1.0
"""Pages that ask within so long, after the same change, are shown the same."""
DIAGNOSIS_S: Final = 5.0
HISTORY_S: Final = 5.0
"""The course of an hour is no other sooner; what is so now is in each page's drawing."""


class Reading:
    """Only of modules that the asker may see."""

    def __init__(self, console: Console, asker: Asker) -> None:
        self._console = console
        self._asker = asker
        self.snapshot = console.watch.snapshot

    def modules(self) -> dict[str, Nodes]:
        return {name: nodes for name, nodes in self.snapshot.modules().items() if self._asker.sees(name)}

    def module(self, name: str) -> Nodes:
        """HttpError 404 when there is none that he may see."""
        nodes = self.modules().get(name)
        if nodes is None:
            raise not_found(f"there is no module '{name}'")
        return nodes

    def traits(self, name: str) -> Traits:
        return self._console.watch.traits(name)

    def headline(self) -> list[Sentence]:
        modules = self.modules()
        return headline(modules, {name: self.traits(name) for name in modules})

    def outlook(self, name: str) -> dict[str, Sentence]:
        """By node: what would become of the module if it died now."""
        nodes = self.module(name)
        return {node: if_it_died(name, node, nodes, self.traits(name)) for node in nodes}

    async def lines(
        self, module: str | None, last: int, node: str = "", kinds: tuple[str, ...] = LINE_KINDS
    ) -> list[dict[str, Any]]:
        """Of the journals of all nodes that answer, newest first. `wall` is each node's own clock."""
        nodes = (node,) if node else ("*",)
        args = {"module": module, "kinds": kinds, "last": min(last, MAX_LINES)}
        work = partial(self._console.node.fan, "entries", args, nodes, timeout_s=3.0)
        key = ("lines", module, last, node, kinds, self.snapshot.number)
        answers = await self._console.lately.get(key, SAME_S, work)
        found = [
            {"node": name, **_line(entry)}
            for name, answer in answers.items()
            for entry in answer.get("result", ())
            if self._may_read(entry["module"])
        ]
        return sorted(found, key=lambda line: (line["wall"], line["id"]), reverse=True)[:last]

    def _may_read(self, module: str) -> bool:
        return self._asker.sees(module) if module else bool(self._asker.role())

    async def why(self, module: str, node: str, back: int = 0, until_id: int = 0) -> dict[str, Any]:
        self.module(module)
        args = {"module": module, "back": back, "until_id": until_id}
        found: dict[str, Any] = await self._console.node.on(node or self.snapshot.own, "why", args)
        return found

    async def inspected(self, module: str) -> dict[str, dict[str, dict[str, str]]]:
        """What the resources on each node say of themselves: traffic of a farm, progress of a replication."""
        nodes = self._answering(module)
        if not nodes:
            return {}
        work = partial(self._console.node.fan, "inspect", {"module": module}, nodes, timeout_s=2.0)
        try:
            answers = await self._console.lately.get(("inspect", module, nodes, self.snapshot.number), SAME_S, work)
        except (SafekitError, TimeoutError):
            return {}
        return {node: answer["result"] for node, answer in answers.items() if answer.get("result")}

    def _answering(self, module: str) -> tuple[str, ...]:
        return tuple(name for name, status in self.module(module).items() if status is not None)

    async def courses(self, module: str) -> list[Course]:
        """What checkers and resources said in the last hour, of each node that answers."""
        nodes = self.module(module)
        work = partial(self._courses, module, nodes)
        return await self._console.lately.get(("courses", module, self.snapshot.number), SAME_S, work)

    async def _courses(self, module: str, nodes: Nodes) -> list[Course]:
        args = {"module": module, "kinds": ("event",), "last": ENTRIES}
        known = {name: status for name, status in nodes.items() if status is not None}
        work = partial(self._console.node.fan, "entries", args, tuple(known), timeout_s=3.0)
        try:
            answers = await self._console.lately.get(("verdicts", module, *known), HISTORY_S, work) if known else {}
        except (SafekitError, TimeoutError):
            return []
        found, now = [], time.time()
        for node, status in known.items():
            entries = answers.get(node, {}).get("result", ())
            found += courses(node, status, entries, now, self.snapshot.nodes[node].wall)
        return found

    async def panels(self, module: str) -> list[Shown]:
        """Of installed packages."""
        nodes = self.module(module)

        async def made() -> list[Shown]:
            return await self._console.panels.of(facts_of(module, nodes, await self.inspected(module)))

        return await self._console.lately.get(("panels", module, self.snapshot.number), SAME_S, made)

    async def diagnosis(self) -> dict[str, Any]:
        """It costs every node some work: those who ask within a few seconds get the same."""
        ask = partial(self._console.node.ask, "diagnose", {"timeout_s": 15.0}, timeout_s=30.0)
        return dict(await self._console.lately.get(("diagnosis", tuple(self.snapshot.nodes)), DIAGNOSIS_S, ask))

    async def versions(self, module: str) -> list[dict[str, Any]]:
        return list(await self._console.node.ask("versions", {"module": module}))


def _line(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of the journal as a line for people, with all that is known of it."""
    body = json.loads(entry["body"])
    line = {key: entry[key] for key in ("id", "wall", "kind", "module")}
    if entry["kind"] == "decision":
        changed = body["before"] != body["after"]
        return line | {
            "text": body["decision"],
            "severity": body["severity"],
            "rule": body["rule"],
            "before": body["before"] if changed else "",
            "after": body["after"] if changed else "",
            "by": body["facts"].get("by", ""),
        }
    text = str(body.get("line", "")) if entry["kind"] == "log" else json.dumps(body)[:500]
    severity = entry["type"] if entry["kind"] == "log" else "info"
    return line | {"text": text, "severity": severity, "rule": "", "before": "", "after": "", "by": ""}
