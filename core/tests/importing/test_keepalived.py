"""keepalived.conf: what each block becomes."""

from __future__ import annotations

import pytest

from safekit.importing.account import Fate
from safekit_sdk import ConfigError

from .kit import compiled, converted, draft, lost, silent_lines, told
from .samples import KEEPALIVED


def test_all_modules_compile_with_the_real_plugins() -> None:
    drafts = converted(KEEPALIVED).drafts
    assert {one.name: compiled(one).kind for one in drafts} == {"farm-10-0-0-200": "farm", "both": "mirror"}


def test_every_line_is_in_the_report() -> None:
    assert silent_lines(converted(KEEPALIVED), KEEPALIVED) == set()


def test_instances_of_a_group_are_one_module_and_go_together() -> None:
    content = draft(converted(KEEPALIVED), "both").content
    addresses = [step["vip"]["address"] for step in content["pipeline"]]
    assert addresses == ["10.0.0.100/24", "fd00::100/64", "10.1.0.100/32"]
    assert content["pipeline"][0]["vip"]["interface"] == "eth0"


def test_scripts_that_are_tracked_become_checkers_with_their_counts() -> None:
    checkers = draft(converted(KEEPALIVED), "both").content["checkers"]
    assert checkers[0]["custom"] == {
        "name": "haproxy",
        "command": ["/usr/local/bin/check", "haproxy", "10%%"],
        "others": "down",
        "interval": "2s",
        "timeout": "1500ms",
        "rise": 2,
        "fall": 3,
        "user": "nobody",
        "action": "swap",
    }
    assert checkers[1]["custom"]["user"] == "checker"
    assert (checkers[1]["custom"]["when"], checkers[1]["custom"]["action"]) == ("pre", "wait")
    assert checkers[2] == {"intf": {"interface": "eth1"}}
    assert checkers[3]["errd"] == {
        "name": "nginx",
        "process": "nginx",
        "argregex": "worker",
        "atleast": 2,
        "action": "swap",
    }


def test_an_address_of_a_virtual_server_is_the_farms_with_the_instances_prefix() -> None:
    content = draft(converted(KEEPALIVED), "farm-10-0-0-200").content
    assert content["pipeline"][0]["nft-lb"]["rules"] == [
        {"port": 80, "hash": "client_address"},
        {"port": 53, "hash": "client_session", "protocol": "udp"},
    ]
    assert content["pipeline"][1]["vip"] == {"address": "10.0.0.200/24", "interface": "eth0"}
    assert {next(iter(checker)) for checker in content["checkers"]} == {"http", "tcp", "custom", "dns"}
    assert content["checkers"][0]["http"]["url"] == "http://127.0.0.1:80/health?deep=1%%20"


def test_a_password_is_in_no_report() -> None:
    conversion = converted(KEEPALIVED)
    assert "s3cr3t99" not in str(conversion.findings)
    assert "s3cr3t99" not in str([one.content for one in conversion.drafts])


def test_what_has_no_counterpart_says_so() -> None:
    what = lost(converted(KEEPALIVED))
    assert {
        "include /etc/keepalived/more.conf",
        "missing",
        "mark",
        "vrrp_script unused",
        "virtual_server fwmark 7",
    } <= set(what)
    assert {"@other garp_lower_prio_delay 3", "static_routes", "10.8.0.0/16 via 10.0.0.1", "nonsense"} <= set(what)


def test_who_is_master_is_said_by_name_and_so_left_to_the_operator() -> None:
    conversion = converted("vrrp_instance a {\n state MASTER\n virtual_ipaddress { 10.0.0.1/24 }\n}\n")
    assert "default_primary: NODE" in told(conversion, "state MASTER").todo
    calm = converted("vrrp_instance a {\n state MASTER\n nopreempt\n virtual_ipaddress { 10.0.0.1/24 }\n}\n")
    assert told(calm, "state MASTER").fate is Fate.IMPLIED


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("vrrp_instance a {\n state MASTER\n", "source:1:1", "never ends"),
        ("vrrp_instance a {\n}\n}\n", "source:3:1", "closes nothing"),
        ("vrrp_instance a {\n { \n}}\n", "source:2:2", "without a name"),
        ('vrrp_script a {\n script "x\n}\n', "source:2:9", "does not end in its line"),
        ("vrrp_instance a " + "{ b " * 40, "source:1:", "nested deeper"),
        ("vrrp_x\n$A=" + "x" * 9000 + "\n$B=$A$A\n", "source:", "definitions"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        converted(text)
    assert caught.value.where.startswith(place)


def test_definitions_and_quotes_are_read() -> None:
    text = "$IP=10.0.0.1\n$MASK=24\nvrrp_instance 'a b' {\n virtual_ipaddress { ${IP}/$MASK }\n}\n"
    [one] = converted(text).drafts
    assert (one.name, one.content["pipeline"]) == ("a-b", [{"vip": {"address": "10.0.0.1/24"}}])
