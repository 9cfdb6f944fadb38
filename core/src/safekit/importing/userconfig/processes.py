"""`<errd>`: a checker for each process that has to be there."""

from __future__ import annotations

from typing import Any

from safekit.importing.draft import ident, seconds
from safekit.importing.userconfig.part import Part
from safekit.importing.xml import Element


class Processes(Part):
    def read(self, errd: Element) -> None:
        self.account.holds(errd)
        poll_s = self.words.span_s(errd.attributes.get("polltimer"), "s")
        if poll_s is not None:
            key, why = f"{self.draft.name}: checkers[…].errd.interval", "a death is told by the kernel, at once"
            self.carry(errd, "polltimer", key, why=why)
        for proc in errd.each("proc"):
            self._process(proc, poll_s)

    def _process(self, proc: Element, poll_s: float | None) -> None:
        if not any(proc.get(name) for name in ("name", "nameregex", "argregex")):
            self.lose(proc, "it does not say which process")
            return
        name = "process" if "nameregex" not in proc.attributes else None
        after = self.words.number(proc.attributes.get("start_after"), 0, 10_000)
        settings: dict[str, Any] = {
            "name": ident(self.value(proc, "name")),
            "process": self.written(proc.attributes.get("name")) if name else None,
            "nameregex": self.written(proc.attributes.get("nameregex")),
            "argregex": self.written(proc.attributes.get("argregex")),
            "atleast": self.words.number(proc.attributes.get("atleast"), 0, 10_000),
            "atmax": self.words.number(proc.attributes.get("atmax"), -1, 10_000),
            "action": self.action(proc, None),
            "when": self.when(proc, "class"),
            "interval": None if poll_s is None else seconds(max(poll_s, 0.1)),
            "start_after": None if after is None else seconds(after * (poll_s or 30.0)),
        }
        key = self.draft.add("checkers", "errd", settings)
        self.account.holds(proc)
        self.carry(proc, "name", f"{key}.{name or 'name'}")
        for attribute in ("nameregex", "argregex", "atleast", "atmax", "action"):
            self.carry(proc, attribute, f"{key}.{attribute}")
        self.carry(proc, "class", f"{key}.when")
        self.carry(proc, "start_after", f"{key}.start_after", why="it was counted in looks")
        self.judge(
            proc, "service", ("no",), "a process is looked for by its name", "services of Windows are not looked for"
        )
        self.lose(
            proc, "no service of the system is restarted", "restart_services", todo="make it a step: service: {unit: …}"
        )
