"""The lab's cables: bridges in the keeper's network namespace (the switch), a veth pair from each to each machine."""

import errno
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from .layout import LabSpec, Machine, bridge, ethernet, interface, ipv4, ipv6, port

_IFA_F_NODAD = 0x02
_NO_BRIDGE_FILTER = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables")


def make_switch(spec: LabSpec) -> None:
    """Create the bridges. Multicast snooping is off: without a querier it would lose the first group packets."""
    _write_settings(
        {
            "net/ipv6/conf/default/disable_ipv6": "1",
            **{f"net/bridge/{name}": "0" for name in _NO_BRIDGE_FILTER},
        }
    )
    with IPRoute() as route:
        for network in range(spec.networks):
            route.link(
                "add",
                ifname=bridge(network),
                kind="bridge",
                br_stp_state=0,
                br_forward_delay=0,
                br_mcast_snooping=0,
                mtu=spec.mtu,
                state="up",
            )


def plug(spec: LabSpec, machine: Machine, init_pid: int) -> None:
    """Run a cable from every bridge to the network namespace of init_pid."""
    with IPRoute() as route:
        for network in range(spec.networks):
            name = port(machine.name, network)
            peer = {
                "ifname": interface(network),
                "net_ns_pid": init_pid,
                "address": ethernet(machine, network),
                "mtu": spec.mtu,
            }
            route.link("add", ifname=name, kind="veth", mtu=spec.mtu, peer=peer)
            route.link("set", ifname=name, master=_index(route, bridge(network)), state="up")


def unplug(spec: LabSpec, machine: Machine) -> None:
    """Remove the machine's cables, both ends at once; what is already gone is well, and the kernel may be about to
    remove them with the machine's namespace."""
    with IPRoute() as route:
        for network in range(spec.networks):
            for index in route.link_lookup(ifname=port(machine.name, network)):
                _remove(route, index)


def _remove(route: IPRoute, index: int) -> None:
    try:
        route.link("del", index=index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


def prepare_machine(spec: LabSpec) -> None:
    """Before the cables come: addresses must be usable at once, so no duplicate address detection."""
    settings = {"net/ipv6/conf/all/accept_dad": "0", "net/ipv6/conf/default/accept_dad": "0"}
    if not spec.ipv6:
        settings |= {"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1"}
    _write_settings(settings)


def configure_machine(spec: LabSpec, machine: Machine) -> None:
    with IPRoute() as route:
        route.link("set", index=_index(route, "lo"), state="up")
        for network in range(spec.networks):
            index = _index(route, interface(network))
            route.addr("add", index=index, address=ipv4(machine, network), prefixlen=24)
            route.link("set", index=index, state="up")
            if spec.ipv6:
                address = ipv6(machine, network)
                route.addr("add", index=index, address=address, prefixlen=64, flags=_IFA_F_NODAD)


def _index(route: IPRoute, name: str) -> int:
    return int(route.link_lookup(ifname=name)[0])


def _write_settings(settings: dict[str, str]) -> None:
    """What this kernel does not have needs no setting."""
    for path, value in settings.items():
        file = Path("/proc/sys") / path
        if file.exists():
            file.write_text(value)
