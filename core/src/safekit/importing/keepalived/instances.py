"""vrrp_instance and vrrp_sync_group: a mirror for each instance, or for all instances of a group."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

from safekit.importing.account import Account
from safekit.importing.draft import Draft, free_name, plain_name, seconds
from safekit.importing.keepalived.syntax import Statement
from safekit.importing.keepalived.tracking import Tracking

_ANNOUNCED: Final = "addresses are always announced, at once and again"
_OWN_WIRE: Final = "nodes talk to each other's addresses over an encrypted connection; they are in the cluster file"
_IMPLIED: Final = {
    "virtual_router_id": "modules have names; nodes talk over an encrypted connection, not VRRP",
    "interface": "the address's interface, and its link is watched by the vip",
    "priority": "which node is preferred is said by name: default_primary",
    "nopreempt": "a module stays where it is",
    "preempt": "a module moves back only to its default_primary",
    "version": "nodes talk over an encrypted connection, not VRRP",
    "use_vmac": "an address is announced with the interface's own hardware address",
    "vmac_xmit_base": "an address is announced with the interface's own hardware address",
    "native_ipv6": "both families are the same here",
    "accept": "the address is the machine's own",
    "no_accept": "the address is the machine's own",
    "promote_secondaries": "see the README of vip",
    "track_src_ip": "the vip watches its interface",
    "mcast_src_ip": _OWN_WIRE,
    "unicast_src_ip": _OWN_WIRE,
    "unicast_peer": _OWN_WIRE,
    "garp_master_delay": _ANNOUNCED,
    "garp_master_repeat": _ANNOUNCED,
    "garp_master_refresh": _ANNOUNCED,
    "garp_master_refresh_repeat": _ANNOUNCED,
    "garp_lower_prio_delay": _ANNOUNCED,
    "garp_lower_prio_repeat": _ANNOUNCED,
    "authentication": "every message is encrypted and every node known by its key",
}
_TRACKED: Final = ("track_script", "track_interface", "track_process", "track_file", "track_bfd")
_NOT_TOLD: Final = (
    "no program is told of a change of state by the engine",
    "make it start_prim, stop_prim, start_second or transition: service: {scripts: DIRECTORY}",
)
_LOST: Final = {
    **{f"notify{when}": _NOT_TOLD for when in ("", "_master", "_backup", "_fault", "_stop", "_deleted")},
    "preempt_delay": ("a module moves back to default_primary as soon as that one is ready", ""),
    "smtp_alert": ("no mail is sent by the engine", "install an observer of `safekit.hooks`"),
    "dont_track_primary": ("a vip watches its interface", "check: false on the vip"),
}
_GUESS: Final = {4: 32, 6: 128}


class Instances:
    def __init__(self, account: Account, drafts: list[Draft], tracking: Tracking, taken: dict[str, str]) -> None:
        self._account = account
        self._drafts = drafts
        self._tracking = tracking
        self._taken = taken
        """Addresses that a farm serves, with its name."""

    def read(self, top: list[Statement]) -> None:
        instances = {block.value: block for block in top if block.key == "vrrp_instance"}
        for group in (block for block in top if block.key == "vrrp_sync_group"):
            draft = self._draft(group.value)
            members = [name for block in group.each("group") for one in block.block for name in one.words]
            for name in members:
                if name in instances:
                    self._instance(draft, instances.pop(name))
            self._group(draft, group)
            self._keep(draft)
        for block in top:
            if block.key == "vrrp_instance" and not self._account.is_decided(block):
                draft = self._draft(block.value)
                self._instance(draft, block)
                self._keep(draft)

    def _draft(self, name: str) -> Draft:
        return Draft(free_name(plain_name(name), self._drafts), {"kind": "mirror"})

    def _keep(self, draft: Draft) -> None:
        if draft.content.keys() - {"kind", "heartbeat"}:
            self._drafts.append(draft)

    def _group(self, draft: Draft, group: Statement) -> None:
        self._account.carried(group, f"{draft.name}: its instances are one module")
        for block in group.block:
            if block.key == "group":
                for one in block.walk():
                    self._account.carried(one, f"{draft.name}: pipeline")
            else:
                self._setting(draft, block, group)

    def _instance(self, draft: Draft, instance: Statement) -> None:
        self._account.carried(instance, f"{draft.name}: module.yaml")
        for statement in instance.block:
            self._setting(draft, statement, instance)

    def _setting(self, draft: Draft, statement: Statement, instance: Statement) -> None:
        key = statement.key
        if key in {"virtual_ipaddress", "virtual_ipaddress_excluded"}:
            self._account.holds(statement)
            for one in statement.block:
                self._address(draft, one, instance.get("interface"))
        elif key in _TRACKED:
            self._tracking.read(draft, statement)
        elif key in _IMPLIED:
            for one in statement.walk():
                self._account.implied(one, _IMPLIED[key])
        elif key == "advert_int":
            self._advert(draft, statement, instance.get("priority"))
        elif key == "state":
            self._state(draft, statement, instance)
        elif key in _LOST:
            self._account.lost(statement, *_LOST[key])

    def _state(self, draft: Draft, statement: Statement, instance: Statement) -> None:
        if statement.value == "MASTER" and instance.first("nopreempt") is None:
            todo = f"add default_primary: NODE to {draft.name} where NODE is this machine, if it is to move back to it"
            self._account.lost(
                statement, "the node's name is not in this file; without it the module stays where it is", todo
            )
        else:
            self._account.implied(statement, "the nodes agree who begins")

    def _advert(self, draft: Draft, statement: Statement, priority: str) -> None:
        """A backup waits for three intervals and a part of a fourth, which its priority sets."""
        text = statement.value
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4})?", text) or not 0.01 <= float(text) <= 60:
            self._account.lost(
                statement, "an interval is from 10ms to 60s", "heartbeat: {interval: 1s, lost_after: 4s}"
            )
            return
        interval_s = float(text)
        skew = (256 - min(int(priority[:3]), 255)) / 256 if priority.isdecimal() and int(priority[:3]) else 0.61
        key = draft.put("heartbeat.interval", seconds(interval_s))
        lost = draft.put("heartbeat.lost_after", seconds(round(interval_s * (3 + skew), 3)))
        self._account.carried(statement, key)
        self._account.carried(statement, lost, why="three intervals and the skew of the priority")

    def _address(self, draft: Draft, one: Statement, interface: str) -> None:
        address, _, length = one.key.partition("/")
        words = dict(zip(one.words[1::2], one.words[2::2], strict=False))
        try:
            version = ipaddress.ip_address(address).version
            ipaddress.ip_interface(one.key)
        except ValueError:
            self._account.lost(one, "this is no address", "vip: {address: 10.0.0.100/24}")
            return
        if farm := self._taken.get(address):
            self._account.carried(
                one, f"{farm}: pipeline[…].vip", why="a virtual server has this address: it is the farm's"
            )
            return
        device = words.get("dev", interface)
        settings: dict[str, Any] = {
            "address": f"{address}/{length or _GUESS[version]}",
            "interface": device if re.fullmatch(r"[^\s/:%]{1,15}", device) else None,
        }
        key = draft.add("pipeline", "vip", settings)
        guess = "" if length else "no prefix length: one address alone is what keepalived has; correct it"
        other = [word for word in words if word != "dev"]
        unkept = f"{', '.join(other)[:60]}: not set on an address" if other else ""
        self._account.carried(one, f"{key}.address", todo="; ".join(text for text in (guess, unkept) if text))
