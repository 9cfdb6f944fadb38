"""virtual_server: a farm whose nodes are the real servers. Each node's kernel takes its part of the clients, and each
node checks itself, so that no machine in front is needed."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

from safekit.importing.account import Account
from safekit.importing.draft import Draft, free_name
from safekit.importing.keepalived.checks import Checks
from safekit.importing.keepalived.syntax import Statement

_IPVS: Final = {
    "lb_algo": "every client has one server, by the hash of its address",
    "lvs_sched": "every client has one server, by the hash of its address",
    "lb_kind": "packets reach the server itself, and answers leave it directly",
    "lvs_method": "packets reach the server itself, and answers leave it directly",
    "persistence_granularity": "a client is known by its whole address",
    "delay_before_retry": "a checker asks again at its interval",
    "alpha": "a node serves when its checkers are up",
    "omega": "a node that stops gives its clients away",
    "ops": "UDP follows the map at once",
    "ha_suspend": "a node serves while it has its part of the clients",
    "ip_family": "it is that of the address",
}
_NODES: Final = "it is a node of the farm: install safekit there and let it join; every node checks itself"
_NOTIFY: Final = "no program is told by the engine"
_CHECKS: Final = (
    "TCP_CHECK",
    "HTTP_GET",
    "SSL_GET",
    "SMTP_CHECK",
    "DNS_CHECK",
    "MISC_CHECK",
    "PING_CHECK",
    "UDP_CHECK",
)


class Servers:
    def __init__(self, account: Account, drafts: list[Draft]) -> None:
        self._account = account
        self._drafts = drafts
        self.taken: dict[str, str] = {}
        """Addresses that are served, with their farm's name."""

    def read(self, top: list[Statement], addresses: dict[str, tuple[str, str]]) -> None:
        """`addresses`: prefix length and interface of those that instances have."""
        for block in top:
            if block.key == "virtual_server":
                self._server(block, addresses)

    def _server(self, block: Statement, addresses: dict[str, tuple[str, str]]) -> None:
        address, port = block.value, block.words[2] if len(block.words) > 2 else ""
        version = _version(address)
        if version is None or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
            why = "a farm shares an address and its ports: marks of a firewall, and groups, have no counterpart"
            for one in block.walk():
                self._account.lost(one, why, "write a farm: see docs, Share clients between servers")
            return
        draft = self._farm(block, address, int(port), version, addresses)
        self._settings(draft, block)
        self._real(draft, block, int(port))

    def _farm(
        self, block: Statement, address: str, port: int, version: int, addresses: dict[str, tuple[str, str]]
    ) -> Draft:
        """One farm for all ports of an address: they have one map."""
        rule = self._rule(block, port)
        if (known := self.taken.get(address)) is not None:
            draft = next(draft for draft in self._drafts if draft.name == known)
            rules = draft.content["pipeline"][0]["nft-lb"]["rules"]
            rules += [rule] if rule not in rules else []
            self._account.carried(block, f"{draft.name}: pipeline[0].nft-lb.rules")
            return draft
        name = "farm-" + re.sub(r"[^A-Za-z0-9]+", "-", address).strip("-")
        draft = Draft(free_name(name[:63], self._drafts), {"kind": "farm"})
        length, interface = addresses.get(address, ("", ""))
        device = interface if re.fullmatch(r"[^\s/:%]{1,15}", interface) else None
        key = draft.add("pipeline", "nft-lb", {"addresses": [address], "rules": [rule], "interface": device})
        guessed = length or str({4: 24, 6: 64}[version])
        draft.add("pipeline", "vip", {"address": f"{address}/{guessed}", "interface": device})
        self._drafts.append(draft)
        self.taken[address] = draft.name
        todo = "" if length else f"the file has no prefix length: /{guessed} is a guess; correct it"
        self._account.carried(block, f"{key}.addresses", todo=todo)
        self._account.carried(block, f"{draft.name}: pipeline[1].vip.address")
        return draft

    def _rule(self, block: Statement, port: int) -> dict[str, Any]:
        protocol = block.get("protocol").lower()
        held = block.first("persistence_timeout") is not None
        rule: dict[str, Any] = {"port": port, "hash": "client_address" if held else "client_session"}
        return rule | ({"protocol": "udp"} if protocol == "udp" else {})

    def _settings(self, draft: Draft, block: Statement) -> None:
        key = f"{draft.name}: pipeline[0].nft-lb.rules"
        for one in block.block:
            if one.key == "protocol" and one.value.lower() not in {"tcp", "udp"}:
                self._account.lost(one, "clients of tcp and udp are shared, no others")
            elif one.key in {"protocol", "persistence_timeout"}:
                why = "a client always reaches the same server" if one.key == "persistence_timeout" else ""
                self._account.carried(one, key, why=why)
            elif one.key in {"delay_loop", "retry"}:
                self._account.carried(
                    one, f"{draft.name}: checkers[…].{'interval' if one.key == 'delay_loop' else 'fall'}"
                )
            elif one.key in _IPVS:
                self._account.implied(one, _IPVS[one.key])
            elif one.key in {"sorry_server", "virtualhost", "quorum", "hysteresis", "quorum_up", "quorum_down"}:
                todo = "put a page for that case on every node" if one.key == "sorry_server" else ""
                self._account.lost(one, "there is nothing in front of the nodes that could do it", todo)

    def _real(self, draft: Draft, block: Statement, port: int) -> None:
        for server in block.each("real_server"):
            own = server.words[2] if len(server.words) > 2 else str(port)
            moved = f"; it listens on {port}, as the address does, not on {own}" if own != str(port) else ""
            self._account.carried(server, f"{draft.name}: a node", todo=f"{_NODES}{moved}")
            checks = Checks(self._account, draft, block, server, port)
            for one in server.block:
                if one.key in _CHECKS:
                    checks.read(one)
                elif one.key == "weight":
                    self._weight(draft, one, server)
                elif one.key in {"inhibit_on_failure", "lvs_method", "uthreshold", "lthreshold"}:
                    self._account.implied(one, "a node whose checks fail leaves the farm")
                elif one.key.startswith("notify"):
                    self._account.lost(one, _NOTIFY, "install an observer of `safekit.hooks`")

    def _weight(self, draft: Draft, one: Statement, server: Statement) -> None:
        if one.value == "1":
            self._account.implied(one, "all nodes have the same weight")
            return
        todo = f"add weights: {{NODE: {one.value[:10]}}} to {draft.name}, NODE being the one at {server.value[:64]}"
        self._account.lost(one, "the node's name is not in this file; without it all have the same weight", todo)


def _version(address: str) -> int | None:
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return None
