"""Cuts this node off: from the other nodes, or from everybody."""

from __future__ import annotations

import shutil
import subprocess
from ipaddress import IPv4Address
from typing import Final

from safekit_rehearse.harm import COMMAND_S, Harm, Order
from safekit_sdk import ConfigError, RefusedError

TABLE: Final = "safekit_rehearse"
_FAMILIES: Final = (("4", "ip"), ("6", "ip6"))


class Cut(Harm):
    """Packets are dropped by a table of our own. When the time is over the kernel forgets by itself whose packets, and
    the whole table with the process that holds it, whatever kills that."""

    def check(self) -> None:
        if shutil.which("nft") is None:
            raise ConfigError("nft is not installed on this node", hint="apt-get install nftables")
        if self.order.kind == "partition" and not self.order.addresses:
            raise ConfigError(
                "there is no other node to be cut off from", hint="`safekit status` shows the nodes of the cluster"
            )
        if nft(f"list table inet {TABLE}").returncode == 0:
            raise RefusedError(
                f"the table {TABLE} is there already: another drill", hint=f"nft delete table inet {TABLE}"
            )

    def do(self) -> str:
        rules = ruleset(self.order)
        self._holder = subprocess.Popen(
            ["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, bufsize=0
        )
        if self._holder.stdin is None:
            raise RefusedError("nft has no standard input")
        for line in rules.splitlines():
            self._holder.stdin.write(f"{line}\n".encode())
        if self.order.kind == "isolate":
            return "every packet to and from anybody is dropped"
        watched = f", but those of the watched port {self.order.port}" if self.order.port else ""
        return f"every packet to and from {', '.join(map(str, self.order.addresses))} is dropped{watched}"

    def undo(self) -> None:
        holder = getattr(self, "_holder", None)
        if holder is not None:
            holder.kill()
            holder.wait()
        nft(f"delete table inet {TABLE}")


def ruleset(order: Order) -> str:
    """For `nft -i`, one command a line."""
    seconds = max(int(order.seconds), 1)
    table = f"inet {TABLE}"
    lines = [f"add table {table} {{ flags owner; }}"]
    for hook, side in (("input", "saddr"), ("output", "daddr")):
        lines.append(f"add chain {table} {hook} {{ type filter hook {hook} priority -310 ; policy accept ; }}")
        if order.port and order.kind == "partition":
            lines.append(f"add rule {table} {hook} tcp {'dport' if hook == 'input' else 'sport'} {order.port} accept")
        lines += [
            f"add set {table} {hook}{name} {{ type {kind} ; flags timeout ; timeout {seconds}s ; }}"
            for name, kind in (("4", "ipv4_addr"), ("6", "ipv6_addr"), ("any", "inet_proto"))
        ]
        lines += [
            f"add rule {table} {hook} {family} {side} @{hook}{name} drop"
            for name, family in (("4", "ip"), ("6", "ip6"))
        ]
        for one in order.addresses:
            name = "4" if isinstance(one, IPv4Address) else "6"
            lines.append(f"add element {table} {hook}{name} {{ {one} }}")
        if order.kind == "isolate":
            interface = "iifname" if hook == "input" else "oifname"
            protocols = ", ".join(map(str, range(256)))
            lines.append(f'add rule {table} {hook} {interface} != "lo" meta l4proto @{hook}any drop')
            lines.append(f"add element {table} {hook}any {{ {protocols} }}")
    return "\n".join(lines) + "\n"


def nft(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nft", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_S, check=False
    )
