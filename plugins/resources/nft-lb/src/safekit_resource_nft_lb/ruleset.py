"""The kernel's rules as text for nftables. Pure: what is configured, where this server is, and its share.

Tables have the same name in the families that need one; all of them are made, and removed, in one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from safekit_resource_nft_lb import delivery
from safekit_resource_nft_lb.config import Hash, Service
from safekit_resource_nft_lb.site import (
    BUCKET,
    NOT_SYN,
    V4_ERRORS,
    V6_ERRORS,
    V6_NEIGHBOURS,
    Site,
    changed_elements,
    changed_set,
    hashed,
    in_changed,
    listed,
    service_map,
)
from safekit_sdk import Share

FAMILIES: Final = ("inet", "netdev", "arp", "ip6")


def table_name(module: str, ident: str) -> str:
    return "safekit-" + re.sub(r"[^A-Za-z0-9_.-]", ".", f"{module}-{ident}")


def removal(table: str) -> str:
    """Nothing of ours is left, whether or not it was there."""
    return "\n".join(f"add table {family} {table}\ndelete table {family} {table}" for family in FAMILIES)


def foundation(site: Site, changed: Mapping[Service, float] | None = None) -> str:
    """Lay all tables anew: nothing is accepted, nobody is answered. `changed`: services that were shared by another
    hash before, each with the seconds for which connections of that time are kept."""
    tables = [removal(site.table), _filter(site), *delivery.tables(site)]
    if changed:
        tables += [*changed_elements(site, "inet", changed), *delivery.keep(site, changed)]
    return "\n".join(tables)


def lease(site: Site, seconds: float, share: Share) -> str:
    """Go on for so long."""
    timeout = f"timeout {max(int(seconds * 1000), 1)}ms"
    lines = []
    for name, addresses in (("lease4", site.v4), ("lease6", site.v6)):
        if addresses:
            elements = ", ".join(f"{address} {timeout}" for address in addresses)
            lines.append(f"flush set inet {site.table} {name}\nadd element inet {site.table} {name} {{ {elements} }}")
    return "\n".join([*lines, *delivery.lease(site, timeout, share)])


def change(site: Site, share: Share, before: Share | None = None) -> str:
    """Accept this share from now on; with `before`, what is in force, only what differs. A set is flushed and filled: a
    change of single elements could be refused."""
    lines: list[str] = []
    if before is None or share.held != before.held:
        lines += _filled(f"inet {site.table} own", share.held)
    if before is None or share.moving != before.moving:
        lines += _filled(f"inet {site.table} moving", share.moving)
    was = [] if before is None else delivery.change(site, before)
    now = delivery.change(site, share)
    return "\n".join([*lines, *(now if now != was else [])])


def _filled(name: str, buckets: Iterable[int]) -> list[str]:
    elements = ", ".join(map(str, sorted(buckets)))
    return [f"flush set {name}", *([f"add element {name} {{ {elements} }}"] if elements else [])]


def _filter(site: Site) -> str:
    """What this server accepts of what reaches it, whatever else happens: the guard that no packet is taken twice."""
    lines = [
        f"table inet {site.table} {{",
        f" set own {{ {BUCKET}; }}",
        f" set moving {{ {BUCKET}; }}",
        " counter served { }",
        " counter refused { }",
    ]
    families = [number for number, addresses in ((4, site.v4), (6, site.v6)) if addresses]
    for number in families:
        lines += _family_sets(site, number)
        lines += _accepting(site, number)
        lines += _staying(site, number)
    return "\n".join([*lines, *_early(site, families), *_late(site, families), "}"])


def _family_sets(site: Site, family: int) -> list[str]:
    kind = "ipv4_addr" if family == 4 else "ipv6_addr"
    by: dict[Hash, str] = {"client_address": f"by_address{family}", "client_session": f"by_session{family}"}
    stay: dict[Hash, str] = {"client_address": f"stay_address{family}", "client_session": f"stay_session{family}"}
    return [
        f" set lease{family} {{ type {kind}; flags timeout; }}",
        service_map(site, f"rules{family}", family, by),
        service_map(site, f"stays{family}", family, stay),
        changed_set(f"changed{family}", family),
    ]


def _accepting(site: Site, family: int) -> list[str]:
    lines = []
    for name, session in ((f"by_address{family}", False), (f"by_session{family}", True)):
        bucket = hashed(site, family, session=session)
        lines += [
            f" chain {name} {{",
            f"  {bucket} @own counter name served accept",
            f"  {NOT_SYN} {bucket} @moving accept",
            "  counter name refused drop",
            " }",
        ]
    return lines


def _staying(site: Site, family: int) -> list[str]:
    """Of a bucket that moved, what belongs to no connection of this server belongs to one of another."""
    lines = []
    for name, session in ((f"stay_address{family}", False), (f"stay_session{family}", True)):
        lines += [f" chain {name} {{", f"  {hashed(site, family, session=session)} @moving drop", " }"]
    return lines


def _early(site: Site, families: list[int]) -> list[str]:
    """Before connections are tracked, and after fragments are put together."""
    lines = [" chain early {", "  type filter hook prerouting priority -350; policy accept;", '  iif "lo" accept']
    vip: list[str] = []
    for family in families:
        ip, addresses = ("ip", site.v4) if family == 4 else ("ip6", site.v6)
        if family == 6:
            lines.append(f"  {V6_NEIGHBOURS} accept")
        lines += [f"  {ip} daddr @lease{family} goto vip{family}", f"  {ip} daddr {listed(addresses)} drop"]
        vip += [
            f" chain vip{family} {{",
            f"  {V4_ERRORS if family == 4 else V6_ERRORS} accept",
            f"  {in_changed(family)} accept",
            f"  {ip} daddr . meta l4proto . th dport vmap @rules{family}",
            f"  goto by_address{family}",
            " }",
        ]
    return [*vip, *lines, " }"]


def _late(site: Site, families: list[int]) -> list[str]:
    """Where it is known which connections are this server's."""
    head = [" chain late {", "  type filter hook prerouting priority -150; policy accept;", '  iif "lo" accept']
    head.append("  ct state established accept")
    chains: list[str] = []
    for family in families:
        ip, addresses = ("ip", site.v4) if family == 4 else ("ip6", site.v6)
        head.append(f"  {NOT_SYN} {ip} daddr {listed(addresses)} goto late{family}")
        chains += [
            f" chain late{family} {{",
            f"  {in_changed(family)} drop",
            f"  {ip} daddr . meta l4proto . th dport vmap @stays{family}",
            f"  goto stay_address{family}",
            " }",
        ]
    return [*chains, *head, " }"]
