"""`<vip>`: virtual addresses, and how a farm shares clients."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from safekit.engine.spec import MAX_WEIGHT
from safekit.importing.userconfig.part import Part
from safekit.importing.xml import Element

_MODES: Final = {"vmac_directed": "directed", "vmac_invisible": "invisible"}
_GUESS: Final = {4: 24, 6: 64}
"""Length of a network's prefix where the file says none."""
_HASHES: Final = {"on_addr": "client_address", "on_port": "client_session"}
_SEEN: Final = "the link of the address's interface is watched by `check`; when it is lost the module stops and starts"


class Addresses(Part):
    def read(self, vip: Element) -> None:
        self.account.holds(vip)
        reset = "connections of clients are not reset when the address goes; they notice when the new owner answers"
        self.judge(vip, "tcpreset", ("off",), "connections are not reset", reset)
        shared: list[Element] = []
        for element in vip.walk():
            if element.tag in {"interface_list", "loadbalancing_list"}:
                self.account.holds(element)
            elif element.tag == "interface":
                self._interface(element)
            elif element.tag == "virtual_interface":
                shared.append(element)
        groups = [element for element in vip.walk() if element.tag == "group"]
        for element in shared:
            self._share(element, groups)
        for element in vip.walk():
            for holder in element.each("real_interface", "virtual_interface"):
                self._put(holder, element)
        self._weights(groups)

    def _interface(self, interface: Element) -> None:
        self.account.holds(interface)
        todo = "for a module that waits instead: checkers: [intf: {interface: eth0}]"
        if (check := interface.attributes.get("check")) is not None:
            if self.words.is_on(check, True):
                self.account.carried(check, f"{self.draft.name}: pipeline[…].vip.check", why=_SEEN, todo=todo)
            else:
                self.account.lost(check, _SEEN, "check: false on each vip turns it off")
        self.judge(interface, "arpreroute", (), "addresses are always announced, at once and again")
        self.judge(interface, "arpelapse", (), "an address is announced for as long as it is up")

    def _put(self, holder: Element, interface: Element) -> None:
        """A step `vip` for each address."""
        self.account.holds(holder)
        for address in holder.each("virtual_addr"):
            self._address(interface, address)

    def _address(self, interface: Element, element: Element) -> None:
        addr = element.attributes.get("addr")
        length = self._length(element)
        if addr is None or length is None:
            self.lose(element, "this is no address", todo="write a step: vip: {address: 10.0.0.100/24}")
            return
        refresh = self.words.span(interface.attributes.get("arpinterval"), "s")
        check = element.attributes.get("check")
        settings: dict[str, Any] = {
            "address": f"{self.words.written(addr)}/{length}",
            "refresh": refresh,
            "check": None if check is None else self.words.is_on(check, True),
        }
        key = self.draft.add("pipeline", "vip", settings)
        self.account.holds(element)
        guessed = (
            f"the file has no netmask: /{length} is a guess; correct it" if "netmask" not in element.attributes else ""
        )
        self.carry(element, "addr", f"{key}.address", todo=guessed)
        self.carry(element, "netmask", f"{key}.address")
        self.carry(element, "check", f"{key}.check")
        self.carry(interface, "arpinterval", f"{key}.refresh")
        self.judge(element, "where", (), "a mirror's address is where the primary is, a farm's on every node")
        count = "connections to an address are not counted; `safekit farm show` counts those of a farm"
        self.judge(element, "connections", ("off",), "connections are not counted", count)

    def _length(self, element: Element) -> int | None:
        """The length of the prefix, from the netmask or guessed; None when it is no address."""
        mask = self.value(element, "netmask")
        try:
            version = ipaddress.ip_address(self.value(element, "addr")).version
            if not mask:
                return _GUESS[version]
            if mask.isdecimal():
                return int(mask[:4]) if int(mask[:4]) <= (32 if version == 4 else 128) else None
            return ipaddress.ip_network(f"0.0.0.0/{mask}").prefixlen if version == 4 else None
        except ValueError:
            return None

    def _share(self, interface: Element, groups: list[Element]) -> None:
        """A step `nft-lb` for the addresses of one virtual interface, before the addresses themselves."""
        addresses = {
            self.value(one, "addr"): one.attributes["addr"] for one in interface.each("virtual_addr") if one.get("addr")
        }
        usable = {text: attribute for text, attribute in addresses.items() if _is_address(text)}
        kind = self.value(interface, "type") or "vmac_directed"
        if not usable or self.draft.content["kind"] != "farm" or kind not in _MODES:
            self.lose(interface, "only a farm shares addresses, by vmac_directed or vmac_invisible", "type", "addr")
            return
        rules: list[dict[str, Any]] = []
        key = self.draft.add(
            "pipeline",
            "nft-lb",
            {"addresses": [self.words.written(one) for one in usable.values()], "mode": _MODES[kind], "rules": rules},
        )
        self.carry(interface, "type", f"{key}.mode")
        self.judge(interface, "addr", (), "the virtual hardware address is chosen from the address")
        for group in groups:
            for rule in group.each("rule"):
                self._rule(rule, key, list(usable), rules)
        if not rules:
            self.draft.content["pipeline"][-1]["nft-lb"].pop("rules")

    def _rule(self, rule: Element, key: str, addresses: list[str], rules: list[dict[str, Any]]) -> None:
        address, port = self.value(rule, "virtual_addr") or "*", self.value(rule, "port") or "*"
        protocol, name = self.value(rule, "proto").lower() or "tcp", self.value(rule, "filter") or "on_addr"
        if address not in {"*", *addresses}:
            return
        if protocol == "arp" or (port == "*" and name == "on_addr"):
            for item in rule.items():
                self.account.implied(
                    item, "what no rule names is shared by client address; ARP is answered as the mode says"
                )
            return
        if port == "*" or not port.isdecimal() or not 1 <= int(port[:6]) <= 65535 or protocol not in {"tcp", "udp"}:
            self.lose(rule, "a rule is for one port of tcp or udp", todo="write a rule for each port")
            return
        if name not in _HASHES:
            self.lose(
                rule, f"packets are not told apart {name[:20]}", "filter", todo="hash: client_session was written"
            )
        made: dict[str, Any] = {"port": int(port), "hash": _HASHES.get(name, "client_session")}
        made |= {"protocol": protocol} if protocol != "tcp" else {}
        made |= {"address": address} if address != "*" else {}
        rules.append(made)
        to = f"{key}.rules[{len(rules) - 1}]"
        self.account.holds(rule)
        for attribute in ("virtual_addr", "port", "proto", "filter"):
            self.carry(rule, attribute, to)

    def _weights(self, groups: list[Element]) -> None:
        """A module has one set of weights."""
        for number, group in enumerate(groups):
            self.account.holds(group)
            self.judge(group, "name", (), "groups have no names here")
            for host in [one for cluster in group.each("cluster") for one in cluster.each("host")]:
                self._weight(host, first=number == 0)
            for cluster in group.each("cluster"):
                self.account.holds(cluster)

    def _weight(self, host: Element, *, first: bool) -> None:
        node, power = self.value(host, "name"), self.words.number(host.attributes.get("power"), 0, MAX_WEIGHT)
        if not first or not node or power is None or self.draft.content["kind"] != "farm":
            self.lose(
                host, "a module has one set of weights", todo="split the module, or weigh its nodes for all rules"
            )
            return
        weights = self.draft.content.setdefault("weights", {})
        weights[self.words.written(host.attributes["name"])] = power
        self.account.holds(host)
        for attribute in ("name", "power"):
            self.carry(
                host, attribute, f"{self.draft.name}: weights.{node}", todo="name the nodes as this cluster does"
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
