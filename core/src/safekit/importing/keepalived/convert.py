"""keepalived.conf: what each outer block becomes."""

from __future__ import annotations

from typing import Final

from safekit.importing.account import Account
from safekit.importing.draft import Conversion, Draft
from safekit.importing.keepalived.instances import Instances
from safekit.importing.keepalived.servers import Servers
from safekit.importing.keepalived.syntax import Statement, parse
from safekit.importing.keepalived.tracking import Tracking
from safekit.importing.source import Source

_NO_MAIL: Final = "no mail is sent by the engine"
_GLOBAL: Final = {
    "router_id": "nodes have names in the cluster",
    "vrrp_version": "nodes talk over an encrypted connection, not VRRP",
    "vrrp_strict": "nodes talk over an encrypted connection, not VRRP",
    "vrrp_skip_check_adv_addr": "nodes talk over an encrypted connection, not VRRP",
    "vrrp_mcast_group4": "nodes talk to each other's addresses",
    "vrrp_mcast_group6": "nodes talk to each other's addresses",
    "vrrp_garp_interval": "addresses are always announced, at once and again",
    "vrrp_gna_interval": "addresses are always announced, at once and again",
    "vrrp_garp_master_delay": "addresses are always announced, at once and again",
    "vrrp_garp_master_repeat": "addresses are always announced, at once and again",
    "vrrp_garp_master_refresh": "addresses are always announced, at once and again",
    "vrrp_garp_master_refresh_repeat": "addresses are always announced, at once and again",
    "vrrp_priority": "safekitd has real-time priority where the system allows it",
    "vrrp_rt_priority": "safekitd has real-time priority where the system allows it",
    "checker_priority": "safekitd has real-time priority where the system allows it",
    "enable_script_security": "programs are lists of arguments; no shell runs them",
    "script_user": "it is the `user` of each checker",
}
_MAIL: Final = ("notification_email", "notification_email_from", "smtp_server", "smtp_connect_timeout", "smtp_alert")


def convert(source: Source, account: Account) -> Conversion:
    top = parse(source, account)
    drafts: list[Draft] = []
    user = next((one.value for block in top if block.key == "global_defs" for one in block.each("script_user")), "")
    tracking = Tracking(account, top, user)
    servers = Servers(account, drafts)
    servers.read(top, _addresses(top))
    Instances(account, drafts, tracking, servers.taken).read(top)
    tracking.finish()
    for statement in top:
        _global(statement, account)
    notes = _notes(top) if drafts else ()
    return Conversion("keepalived", source.filename, tuple(drafts), account.findings(), (), tuple(notes))


def _global(statement: Statement, account: Account) -> None:
    """What stands outside of instances and servers."""
    if statement.key.startswith("include"):
        account.lost(statement, "other files are not read", "import that file as well, or put its content here")
    elif statement.key.startswith("@"):
        for one in statement.walk():
            account.lost(one, "it is said for one configuration id only", "write what this machine needs without @")
    elif statement.key == "global_defs":
        account.holds(statement)
        for one in statement.block:
            _setting(one, account)


def _setting(one: Statement, account: Account) -> None:
    if one.key in _GLOBAL:
        account.implied(one, _GLOBAL[one.key])
    elif one.key in _MAIL:
        for each in one.walk():
            account.lost(each, _NO_MAIL, "install an observer of `safekit.hooks` that sends it")


def _addresses(top: list[Statement]) -> dict[str, tuple[str, str]]:
    """Of all instances: address to prefix length and interface, for the servers that use them."""
    found: dict[str, tuple[str, str]] = {}
    for instance in (block for block in top if block.key == "vrrp_instance"):
        for block in instance.each("virtual_ipaddress", "virtual_ipaddress_excluded"):
            for one in block.block:
                address, _, length = one.key.partition("/")
                words = dict(zip(one.words[1::2], one.words[2::2], strict=False))
                found[address] = (length, words.get("dev", instance.get("interface")))
    return found


def _notes(top: list[Statement]) -> list[str]:
    if not any(block.key == "vrrp_instance" for block in top):
        return []
    return [
        "VRRP takes over when it hears nothing, and both nodes have the address when only the network failed. Here "
        "isolation: safety holds: nothing takes over then by itself. Add a witness; or isolation: availability is what "
        "it was",
        "one module file serves both nodes: import it from one of them, and compare with the other's keepalived.conf",
    ]
