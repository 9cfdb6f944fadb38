"""SafeKit's cluster.xml: how the same cluster is made here."""

from __future__ import annotations

import ipaddress
import re
import shlex
from typing import Final

from safekit.importing.account import Account
from safekit.importing.draft import Conversion
from safekit.importing.source import Source
from safekit.importing.userconfig.words import Words
from safekit.importing.xml import Element
from safekit_sdk import ConfigError

DEFAULT_PORT: Final = 4800
_OWN_KEYS: Final = "each node makes a key pair of its own; the cluster file holds the public halves"


def convert(source: Source, root: Element, account: Account) -> Conversion:
    """The cluster file itself holds keys that do not exist yet: what makes it are commands."""
    reader = _Reader(Words(source, account), account)
    reader.words.define(root)
    for lans in [element for element in root.walk() if element.tag == "lans"]:
        reader.read(lans)
    for element in root.walk():
        if element.tag in {"cluster", "lans", "node", "lan"}:
            account.implied(element, "how the cluster is made is told by the commands")
        elif element.tag == "macro":
            for item in element.items():
                account.carried(item, "its value, where it is used")
    commands = tuple(reader.commands())
    if not commands:
        raise ConfigError("no node with an address", where=source.where(root.place), hint="<node name=… addr=…/>")
    return Conversion("safekit", source.filename, (), account.findings(), commands, tuple(reader.notes))


class _Reader:
    def __init__(self, words: Words, account: Account) -> None:
        self.words = words
        self.notes = [f"cluster.yaml is made by these commands, not by this import: {_OWN_KEYS}"]
        self._account = account
        self._nodes: dict[str, dict[str, str]] = {}
        self._port = DEFAULT_PORT

    def read(self, lans: Element) -> None:
        self._timing(lans)
        port = lans.attributes.get("port")
        if (number := self.words.number(port, 1, 65534)) is not None and port is not None:
            self._port = number
            self._account.carried(port, f"cluster init --port {number}", why="TCP here, and the next one for joins")
        for lan in lans.each("lan"):
            self._lan(lan)

    def _timing(self, lans: Element) -> None:
        for name in ("pulse", "mlost_count", "slost_count"):
            if name in lans.attributes:
                why = "how soon a node is lost is said by each module: heartbeat: {interval, lost_after}"
                self._account.lost(lans.attributes[name], why, "say it in the modules if 100ms and 1s do not suit")

    def _lan(self, lan: Element) -> None:
        network = re.sub(r"[^A-Za-z0-9_-]", "-", self.words.text(lan.attributes.get("name"))).strip("-_")[:32] or "lan"
        if (name := lan.attributes.get("name")) is not None:
            self._account.carried(name, f"--address {network}=…")
        if (command := lan.attributes.get("command")) is not None:
            self._account.implied(command, "commands take every network that there is")
        for node in lan.each("node"):
            self._node(node, network)

    def _node(self, node: Element, network: str) -> None:
        name, addr = node.attributes.get("name"), node.attributes.get("addr")
        if "laddr" in node.attributes:
            todo = "give --address the address that the node itself has"
            self._account.lost(node.attributes["laddr"], "a node listens on the address that others use", todo)
        if name is None or addr is None:
            self._account.lost(node, "a node needs a name and an address")
            return
        address = self.words.text(addr).strip("[]")
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            self._account.lost(
                addr, f"'{address[:60]}' is no address", f"--address {network}=ADDRESS; names are not resolved"
            )
            address = "ADDRESS"
        else:
            self._account.carried(addr, f"--address {network}={address}")
        own = re.sub(r"[^A-Za-z0-9_.-]", "-", self.words.text(name)).strip("._-")[:63] or "node"
        self._account.carried(name, f"--node {own}")
        self._nodes.setdefault(own, {})[network] = address

    def commands(self) -> list[str]:
        made = []
        for number, (node, addresses) in enumerate(self._nodes.items()):
            where = " ".join(f"--address {shlex.quote(f'{network}={ip}')}" for network, ip in addresses.items())
            if number == 0:
                port = f" --port {self._port}" if self._port != DEFAULT_PORT else ""
                made += [f"{node}: safekit cluster init --node {node} {where}{port}", f"{node}: safekit daemon start"]
            else:
                first = next(iter(self._nodes))
                made += [f"{first}: safekit cluster token", f"{node}: safekit cluster join TOKEN --node {node} {where}"]
                made.append(f"{node}: safekit daemon start")
        return made
