"""`<check>`: tcp, ping, intf, ip, custom, module, splitbrain."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable
from typing import Any

from safekit.importing.draft import ident
from safekit.importing.userconfig.part import Part
from safekit.importing.xml import Attribute, Element

_WHERE = ("addr", "port", "interval", "timeout", "local_addr", "name")


class Checks(Part):
    def read(self, check: Element) -> None:
        self.account.holds(check)
        makers: dict[str, Callable[[Element], None]] = {
            "tcp": self._tcp,
            "ping": self._ping,
            "intf": self._intf,
            "ip": self._ip,
            "custom": self._custom,
            "module": self._module,
            "splitbrain": self._split_brain,
        }
        for element in check.children:
            if element.tag in makers:
                makers[element.tag](element)

    def _to(self, element: Element) -> Element:
        """Whom it asks: `<to …/>` inside, or the element itself."""
        return element.first("to") or element

    def _add(self, element: Element, settings: dict[str, Any], *, default: str | None) -> str:
        """The checker with what all have: times, name, states, action."""
        to, scope = self._to(element), self.when(element)
        if element.tag in {"tcp", "custom"} and scope == "pre" and default is not None:
            default = "wait"
        settings = {
            "name": ident(self.value(element, "ident")),
            **settings,
            "interval": self.words.span(to.attributes.get("interval"), "s"),
            "timeout": self.words.span(to.attributes.get("timeout"), "s"),
            "when": scope,
            "action": self.action(element, default),
        }
        key = self.draft.add("checkers", element.tag, settings)
        self.account.holds(element)
        if to is not element:
            self.account.holds(to)
        self.carry(element, "ident", f"{key}.name")
        for name in ("when", "action"):
            self.carry(element, name, f"{key}.{name}")
        for name in ("interval", "timeout"):
            self.carry(to, name, f"{key}.{name}")
        return key

    def _tcp(self, element: Element) -> None:
        to = self._to(element)
        port = self.words.number(to.attributes.get("port"), 1, 65535)
        if port is None:
            self.lose(element, "it does not say at which port")
            return
        written = self.written(to.attributes["port"])
        settings = {"host": self.written(to.attributes.get("addr")), "port": written if "%" in str(written) else port}
        key = self._add(element, settings, default="restart")
        self.carry(to, "addr", f"{key}.host")
        self.carry(to, "port", f"{key}.port")

    def _ping(self, element: Element) -> None:
        to = self._to(element)
        if not to.get("addr"):
            self.lose(element, "it does not say whom to ask")
            return
        key = self._add(element, {"hosts": [self.written(to.attributes["addr"])]}, default="wait")
        self.carry(to, "addr", f"{key}.hosts[0]")

    def _intf(self, element: Element) -> None:
        to = self._to(element)
        name = to.attributes.get("name") or to.attributes.get("interface")
        if name is None:
            why = "an interface is named here, not found by its address"
            self.lose(element, why, todo="checkers: [intf: {interface: eth0}]")
            return
        key = self._add(element, {"interface": self.written(name)}, default=None)
        self.account.carried(name, f"{key}.interface")

    def _ip(self, element: Element) -> None:
        to = self._to(element)
        if not to.get("addr"):
            self.lose(element, "it does not say which address")
            return
        key = self._add(element, {"address": self.written(to.attributes["addr"])}, default=None)
        self.carry(to, "addr", f"{key}.address")

    def _custom(self, element: Element) -> None:
        program, arguments = self.value(element, "exec"), self._arguments(element.attributes.get("arg"))
        if not program or arguments is None:
            self.lose(element, "it does not say which program to run")
            return
        path = program if program.startswith("/") else f"/etc/safekit/modules/{self.draft.name}/bin/{program}"
        command = [word.replace("%", "%%") for word in (path, *arguments)]
        key = self._add(element, {"command": command, "loop": True}, default="restart")
        todo = "it has to print a line `up …` or `down …` for each verdict, where it called `safekit set -r … -v up`"
        self.carry(element, "exec", f"{key}.command", todo=todo)
        self.carry(element, "arg", f"{key}.command")

    def _arguments(self, attribute: Attribute | None) -> list[str] | None:
        try:
            return shlex.split(self.words.text(attribute))
        except ValueError:
            return None

    def _module(self, element: Element) -> None:
        name = self.value(element, "name")
        if not name:
            self.lose(element, "it does not say which module")
            return
        settings = {"module": ident(name), "on": "any", "restarted": True}
        key = self._add(element, settings, default=None)
        self.carry(element, "name", f"{key}.module")
        to = self._to(element)
        why = "only modules of this cluster are looked at; of another one its virtual address can be"
        self.lose(to, why, "addr", "port", todo="use tcp, or http on that module's health URL")

    def _split_brain(self, element: Element) -> None:
        """A witness by ping: what it asks is the address in `arg`, or in `<to addr>`."""
        to = self._to(element)
        attribute = element.attributes.get("arg") or to.attributes.get("addr")
        text = self.words.text(attribute)
        try:
            host = str(ipaddress.ip_address(text))
        except ValueError:
            host = ""
        program = self.value(element, "exec") or "ping"
        if not host or program != "ping" or self.draft.content["kind"] != "mirror" or attribute is None:
            self.lose(
                element, "a witness here is an address that is pinged, or a lease", todo="see docs: Add a witness"
            )
            return
        witness = self.draft.content.setdefault("witness", {"ping": {"hosts": []}})["ping"]
        if host not in witness["hosts"]:
            witness["hosts"].append(host)
        self.account.holds(element)
        if to is not element:
            self.account.holds(to)
        key = f"{self.draft.name}: witness.ping"
        todo = "it keeps an isolated node from running; only a lease witness rules out that both run"
        self.account.carried(attribute, f"{key}.hosts[{witness['hosts'].index(host)}]", todo=todo)
        for name in ("exec", "ident"):
            self.carry(element, name, key)
        self.judge(element, "when", (), "the witness is asked whenever the nodes do not hear each other")
