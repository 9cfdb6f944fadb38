"""What instances track: vrrp_script, vrrp_track_process, vrrp_track_file, and interfaces. They become checkers of the
modules that track them."""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

from safekit.importing.account import Account
from safekit.importing.draft import Draft, ident, seconds
from safekit.importing.keepalived.syntax import Statement

_SCRIPT: Final = ("script", "interval", "timeout", "weight", "rise", "fall", "user")
_WEIGHED: Final = "a failed check moves the module to the other node, whatever its weight"


class Tracking:
    def __init__(self, account: Account, top: list[Statement], user: str) -> None:
        self._account = account
        self._user = user
        self._known = {
            (block.key, block.value): block for block in top if block.key.startswith(("vrrp_script", "vrrp_track"))
        }
        self._used: set[int] = set()

    def read(self, draft: Draft, block: Statement) -> None:
        """`track_script {…}` and its like, of one instance or group."""
        self._account.holds(block)
        for one in block.block:
            if block.key == "track_interface":
                self._interface(draft, one)
            elif block.key == "track_script" and (found := self._known.get(("vrrp_script", one.key))):
                self._script(draft, one, found)
            elif block.key == "track_process" and (found := self._known.get(("vrrp_track_process", one.key))):
                self._process(draft, one, found)
            else:
                self._account.lost(
                    one, "what it tracks is not in this file, or has no counterpart", "write a checker for it"
                )

    def finish(self) -> None:
        """Those that nobody tracks do nothing there either."""
        for (key, _), block in self._known.items():
            if key == "vrrp_track_file" or key == "vrrp_track_bfd":
                continue
            if id(block) not in self._used:
                for one in block.walk():
                    self._account.lost(one, "no instance tracks it", "track it, or remove it")

    def _interface(self, draft: Draft, one: Statement) -> None:
        if not re.fullmatch(r"[!-.0-9;-~]{1,15}", one.key):
            self._account.lost(one, "this is no name of an interface")
            return
        key = draft.add("checkers", "intf", {"interface": one.key.replace("%", "%%")})
        self._account.carried(one, f"{key}.interface", why=_WEIGHED if "weight" in one.words else "")

    def _script(self, draft: Draft, one: Statement, block: Statement) -> None:
        self._used.add(id(block))
        command = self._command(block.first("script"))
        if not command:
            for each in block.walk():
                self._account.lost(
                    each, "it does not say which program to run", "write a checker: custom: {command: […]}"
                )
            self._account.lost(one, "its script cannot be run")
            return
        weighed = "weight" in one.words or _number(block.get("weight")) not in (None, 0.0)
        settings: dict[str, Any] = {
            "name": ident(block.value),
            "command": [word.replace("%", "%%") for word in command],
            "others": "down",
            "interval": self._span(block.first("interval"), least_s=0.1) or "1s",
            "timeout": self._span(block.first("timeout"), least_s=0.01),
            "rise": self._count(block.first("rise")),
            "fall": self._count(block.first("fall")),
            "user": (block.get("user") or self._user).replace("%", "%%") or None,
            **({"action": "swap"} if weighed else {"when": "pre", "action": "wait"}),
        }
        key = draft.add("checkers", "custom", settings)
        self._account.holds(block)
        todo = "by its weight it changed the priority; here it moves the module" if weighed else ""
        self._account.carried(one, key, todo=todo)
        for name in _SCRIPT:
            self._of(block, name, f"{key}.{'command' if name == 'script' else 'action' if name == 'weight' else name}")
        if (fail := block.first("init_fail")) is not None:
            self._account.implied(fail, "nothing starts before it has answered")

    def _of(self, block: Statement, name: str, key: str) -> None:
        found = block.first(name)
        if found is not None and not self._account.is_decided(found):
            self._account.carried(found, key)

    def _process(self, draft: Draft, one: Statement, block: Statement) -> None:
        self._used.add(id(block))
        process = block.first("process")
        if process is None or not process.value:
            self._account.lost(one, "it does not say which process")
            return
        arguments = " ".join(process.rest[1:])
        settings: dict[str, Any] = {
            "name": ident(block.value),
            "process": process.value.rsplit("/", 1)[-1].replace("%", "%%")[:255] or None,
            "argregex": re.escape(arguments).replace("%", "%%")[:512] if arguments else None,
            "atleast": self._count(block.first("quorum")),
            "atmax": self._count(block.first("quorum_max")),
            "action": "swap",
        }
        key = draft.add("checkers", "errd", settings)
        self._account.holds(block)
        self._account.carried(one, key, todo=_WEIGHED if "weight" in one.words or block.get("weight") else "")
        for name, to in (("process", "process"), ("quorum", "atleast"), ("quorum_max", "atmax"), ("weight", "action")):
            self._of(block, name, f"{key}.{to}")

    def _command(self, script: Statement | None) -> list[str]:
        """The program and its arguments. keepalived runs them without a shell, too."""
        if script is None:
            return []
        try:
            words = shlex.split(" ".join(script.rest))
        except ValueError:
            return []
        return words if words and words[0] else []

    def _span(self, statement: Statement | None, *, least_s: float) -> str | None:
        value = None if statement is None else _number(statement.value)
        if statement is None or value is None or not 0 <= value < 1e8:
            if statement is not None:
                self._account.lost(statement, "this is no number of seconds")
            return None
        return seconds(max(value, least_s))

    def _count(self, statement: Statement | None) -> int | None:
        value = None if statement is None else _number(statement.value)
        if statement is None or value is None or not 1 <= value <= 100:
            if statement is not None:
                self._account.lost(statement, "this is no number from 1 to 100")
            return None
        return int(value)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,6})?", text) else None
