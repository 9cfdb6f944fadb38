"""How packets reach their server: the parts of the ruleset that differ between the modes. Pure.

directed: one server, the director, answers for the addresses, and every server passes on what it receives for others.
A packet that was passed on has a time to live of 1, and what has that is never passed on: no packet travels twice,
whatever the servers believe of each other. The sender of ARP and neighbour requests is always the server's own address.

invisible, multicast: the addresses have a hardware address of their own, which is in no Ethernet header's source, so
that switches flood it. All servers receive all packets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

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
    service_map,
)
from safekit_sdk import Share

ALIVE: Final = "numgen inc mod 1 @alive"
"""True while the lease of the one who answers lasts: an element with a time limit, in a set of its own."""
NOWHERE: Final = "00:00:00:00:00:00"
"""The place of a server that leaves: nothing is passed on to it. Nodes of earlier versions take it for an address."""
RECEIVED: Final = "received"
"""A counter of what clients sent here."""
PASSED: Final = "passed"
"""A counter of what other servers passed on to this one."""
_TTL: Final = {4: "ip ttl", 6: "ip6 hoplimit"}


def virtual_mac(site: Site) -> str:
    """Locally administered, from the first address; the same on every server."""
    first = site.config.addresses[0]
    head = "03:bf" if site.config.mode == "multicast" else "02:bf"
    return ":".join([head, *(f"{byte:02x}" for byte in first.packed[-4:])])


def tables(site: Site) -> list[str]:
    return _directed(site) if site.config.mode == "directed" else _virtual(site)


def lease(site: Site, timeout: str, share: Share) -> list[str]:
    if site.config.mode != "directed":
        return []
    lines = [f"flush set netdev {site.table} alive"]
    if share.director == site.node:
        lines.append(f"add element netdev {site.table} alive {{ 0 {timeout} }}")
    return lines


def keep(site: Site, changed: Mapping[Service, float]) -> list[str]:
    return changed_elements(site, "netdev", changed) if site.config.mode == "directed" else []


def change(site: Site, share: Share) -> list[str]:
    return _passing(site, share) if site.config.mode == "directed" else []


# directed


def _directed(site: Site) -> list[str]:
    lines = [f"table netdev {site.table} {{", f" set alive {{ {BUCKET}; flags timeout; }}"]
    lines += [f" counter {RECEIVED} {{ }}", f" counter {PASSED} {{ }}"]
    entry: list[str] = []
    for family, addresses in ((4, site.v4), (6, site.v6)):
        if addresses:
            lines += _directed_family(site, family)
            entry += _entry(family, addresses)
    lines += [
        " chain in {",
        f'  type filter hook ingress device "{site.place.interface}" priority -300; policy accept;',
        *entry,
        " }",
        "}",
    ]
    return ["\n".join(lines), *_own_senders(site)]


def _directed_family(site: Site, family: int) -> list[str]:
    chains: dict[Hash, str] = {"client_address": f"by_address{family}", "client_session": f"by_session{family}"}
    fragment = "ip frag-off & 0x3fff != 0" if family == 4 else "ip6 nexthdr 44"
    lines = [
        f" map to{family} {{ {BUCKET} : ether daddr; }}",
        f" map stay{family} {{ {BUCKET} : verdict; }}",
        f" chain all{family} {{",
        " }",
    ]
    for name, session in ((chains["client_address"], False), (chains["client_session"], True)):
        bucket = hashed(site, family, session=session)
        lines += [
            f" chain {name} {{",
            f"  {NOT_SYN} {bucket} vmap @stay{family}",
            f'  ether daddr set {bucket} map @to{family} {_signed(site, family)} fwd to "{site.place.interface}"',
            " }",
        ]
    ip = "ip" if family == 4 else "ip6"
    return [
        *lines,
        service_map(site, f"rules{family}", family, chains),
        changed_set(f"changed{family}", family),
        f" chain pass{family} {{",
        f"  {fragment} goto all{family}",
        f"  {V4_ERRORS if family == 4 else V6_ERRORS} goto all{family}",
        *([f"  {V6_NEIGHBOURS} accept"] if family == 6 else []),
        f"  {in_changed(family)} goto all{family}",
        f"  {ip} daddr . meta l4proto . th dport vmap @rules{family}",
        f"  goto by_address{family}",
        " }",
    ]


def _entry(family: int, addresses: Iterable[IPv4Address | IPv6Address]) -> list[str]:
    lines = []
    for address in addresses:
        if family == 4:
            lines += [
                f"  ip daddr {address} ip ttl > 1 counter name {RECEIVED} goto pass4",
                f"  ip daddr {address} counter name {PASSED}",
                f"  arp operation request arp daddr ip {address} {ALIVE} accept",
                f"  arp operation request arp daddr ip {address} drop",
            ]
        else:
            asked = f"icmpv6 type nd-neighbor-solicit @th,64,128 0x{address.packed.hex()}"
            lines += [
                f"  {asked} {ALIVE} accept",
                f"  {asked} drop",
                f"  ip6 daddr {address} ip6 hoplimit > 1 counter name {RECEIVED} goto pass6",
                f"  ip6 daddr {address} counter name {PASSED}",
            ]
    return lines


def _own_senders(site: Site) -> list[str]:
    """Requests for neighbours are never sent in the name of a virtual address: the answers would go astray."""
    arp = [f"  arp operation request arp saddr ip {a} arp saddr ip set {site.place.own4}" for a in site.v4]
    nd = [f"  icmpv6 type nd-neighbor-solicit ip6 saddr {a} ip6 saddr set {site.place.own6}" for a in site.v6]
    return [
        _output("arp", site.table, arp if site.place.own4 else []),
        _output("ip6", site.table, nd if site.place.own6 else []),
    ]


def _output(family: str, table: str, rules: list[str]) -> str:
    head = "  type filter hook output priority 0; policy accept;"
    return "\n".join([f"table {family} {table} {{", " chain out {", head, *rules, " }", "}"])


def _passing(site: Site, share: Share) -> list[str]:
    """Fill the maps and chains by which packets go to other servers."""
    others = {node: mac for node, mac in sorted(share.places.items()) if node != site.node and mac != NOWHERE}
    numbers = {node: index for index, node in enumerate(others)}
    lines: list[str] = []
    for family, addresses in ((4, site.v4), (6, site.v6)):
        if not addresses:
            continue
        table = f"netdev {site.table}"
        to = {b: others[o] for b, o in enumerate(share.owners) if o in others and b not in share.held}
        stays = {b: _stay(site, share, b, numbers) for b, priors in enumerate(share.priors) if priors}
        lines += [f"flush map {table} to{family}", f"flush map {table} stay{family}"]
        for targets, here in sorted(set(stays.values())):
            macs = [others[node] for node in others if numbers[node] in targets]
            lines += _chain(site, _name(family, targets, here), _to_several(site, family, macs, here))
        lines += _chain(site, f"all{family}", _to_several(site, family, list(others.values()), here=True))
        lines += _elements(f"{table} to{family}", to)
        verdicts = {bucket: f"goto {_name(family, *stay)}" for bucket, stay in stays.items()}
        lines += _elements(f"{table} stay{family}", verdicts)
    return lines


def _stay(site: Site, share: Share, bucket: int, numbers: dict[str, int]) -> tuple[tuple[int, ...], bool]:
    """Who may have a connection of the bucket: the numbers of other servers, and whether this one may."""
    nodes = {share.owners[bucket], *share.priors[bucket]}
    here = site.node in nodes or bucket in share.held
    return tuple(sorted(numbers[node] for node in nodes if node in numbers)), here


def _name(family: int, targets: tuple[int, ...], here: bool) -> str:
    return "_".join([f"stay{family}", *map(str, targets), "here" if here else "there"])


def _chain(site: Site, name: str, rules: list[str]) -> list[str]:
    chain = f"netdev {site.table} {name}"
    return [f"add chain {chain}", f"flush chain {chain}", *(f"add rule {chain} {rule}" for rule in rules)]


def _signed(site: Site, family: int) -> str:
    """As from this server, and for the last time."""
    return f"{_TTL[family]} set 1 ether saddr set {site.place.mac}"


def _sent(site: Site, family: int, mac: str, how: str) -> str:
    return f'{_signed(site, family)} ether daddr set {mac} {how} to "{site.place.interface}"'


def _to_several(site: Site, family: int, macs: list[str], here: bool) -> list[str]:
    """A copy for each server; the last takes the packet itself."""
    if here:
        own = f"ether daddr set {site.place.mac} accept"
        return [*(_sent(site, family, mac, "dup") for mac in macs), own if macs else "accept"]
    if not macs:
        return ["accept"]
    return [*(_sent(site, family, mac, "dup") for mac in macs[:-1]), _sent(site, family, macs[-1], "fwd")]


def _elements(name: str, values: dict[int, str]) -> list[str]:
    elements = ", ".join(f"{bucket} : {value}" for bucket, value in sorted(values.items()))
    return [f"add element {name} {{ {elements} }}"] if elements else []


# invisible and multicast


def _virtual(site: Site) -> list[str]:
    mac = virtual_mac(site)
    arp = [f"  arp saddr ip {address} arp saddr ether set {mac}" for address in site.v4]
    hook = f'type filter hook ingress device "{site.place.interface}" priority -300; policy accept;'
    ingress = [f"  {hook}", f"  ether daddr {mac} meta pkttype set host"]
    return [
        "\n".join([f"table netdev {site.table} {{", " chain in {", *ingress, " }", "}"]),
        _output("arp", site.table, arp),
        _output("ip6", site.table, [rule for address in site.v6 for rule in _virtual_neighbour(site, address, mac)]),
    ]


def _virtual_neighbour(site: Site, address: IPv6Address, mac: str) -> list[str]:
    """Advertisements and solicitations tell the virtual hardware address; their checksum is put right in a field of
    theirs that is reserved and zero (RFC 4861, 4.3 and 4.4)."""
    value = f"0x{mac.replace(':', '')}"
    mend = f"@th,208,48 set {value} @th,48,16 set {_mend(site.place.mac, mac):#x}"
    return [
        f"  icmpv6 type nd-neighbor-advert @th,64,128 0x{address.packed.hex()} @th,192,16 0x0201 {mend}",
        f"  icmpv6 type nd-neighbor-solicit ip6 saddr {address} @th,192,16 0x0101 {mend}",
    ]


def _mend(own: str, virtual: str) -> int:
    """The word that keeps the ones' complement sum when one hardware address takes the place of the other."""
    difference = (_sum(own) - _sum(virtual)) % 0xFFFF
    return difference or 0xFFFF


def _sum(mac: str) -> int:
    data = bytes.fromhex(mac.replace(":", ""))
    return sum(int.from_bytes(data[index : index + 2], "big") for index in range(0, 6, 2))
