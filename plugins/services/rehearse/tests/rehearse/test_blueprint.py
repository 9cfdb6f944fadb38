"""What of a cluster goes into a lab, and what is said of the rest before anything begins."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from safekit_rehearse import blueprint
from safekit_rehearse.blueprint import Blueprint, Card
from safekit_rehearse.lab import rehearse_copy

from safekit_sdk import ConfigError, RefusedError

CLUSTER = """\
name: ward
id: 6d1f2a52-9d5e-4f3a-8a55-0a4c1d1f2a52
revision: 3
networks: [{name: lan, port: 4800}, {name: back, port: 4900}]
nodes:
  - {name: db-a, public_key: k, addresses: {lan: 192.0.2.14, back: "2001:db8::1"}}
  - {name: db-b, public_key: k, addresses: {lan: 192.0.2.13, back: "2001:db8::2"}}
"""
MODULE = """\
kind: mirror
pipeline:
  - vip: {address: 192.0.2.12/28}
  - apache: {}
checkers:
  - ping: {hosts: [192.0.2.1, 192.0.2.14, "2001:db8::ff"]}
  - http: {url: "http://192.0.2.12:80/", interval: 1s}
  - tcp: {host: 127.0.0.1, port: 80}
  - tcp: {host: 198.51.100.7, port: 443}
"""
CARDS = (Card("lo", ip_interface("127.0.0.1/8")), Card("ens18", ip_interface("192.0.2.14/28")))


def plan(place: Path, module: str = MODULE, cards: tuple[Card, ...] = CARDS, **files: str) -> Blueprint:
    folder = place / "modules" / "web"
    folder.mkdir(parents=True)
    (place / "cluster.yaml").write_text(CLUSTER)
    for name, text in {"module": module, **files}.items():
        (folder / f"{name}.yaml").write_text(text)
    return blueprint.read(place, "web", cards, ("/srv",))


def test_the_nodes_keep_their_addresses_and_the_names_of_their_interfaces(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert (found.card_of("lan"), found.bits_of("lan")) == ("ens18", 28)
    assert (found.card_of("back"), found.bits_of("back")) == ("", 64)


def test_what_checkers_ask_of_others_is_played_by_one_machine_with_an_address_that_nobody_has(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert found.strangers() == [ip_address(one) for one in ("192.0.2.1", "198.51.100.7", "2001:db8::ff")]
    assert found.world("lan") == ip_interface("192.0.2.11/28")
    assert any("198.51.100.7" in note and "no other question" in note for note in found.notes())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (("apache: {}", "service: {unit: x}"), "step 'service': systemd does not run"),
        (("apache: {}", "kvm-vm: {name: x}"), "step 'kvm-vm'"),
        (("apache: {}", "fence: {agent: x}"), "no fence device"),
        (("kind: mirror", "kind: mirror\ndepends_on: [db]"), "depends on other modules"),
        (("kind: mirror", "kind: mirror\nwitness: {etcd: {}}"), "its witness"),
    ],
    ids=["service", "virtual machine", "fence", "other module", "other witness"],
)
def test_what_cannot_run_in_a_namespace_is_named_before_anything_begins(
    tmp_path: Path, changed: tuple[str, str], reason: str
) -> None:
    assert plan(tmp_path / "one").hindrances() == []
    (found,) = plan(tmp_path / "other", MODULE.replace(*changed)).hindrances()
    assert reason in found


def test_a_node_behind_a_router_is_reached_without_one(tmp_path: Path) -> None:
    plan(tmp_path)
    (tmp_path / "cluster.yaml").write_text(CLUSTER.replace("192.0.2.13", "203.0.113.13"))
    found = blueprint.read(tmp_path, "web", CARDS)
    assert found.elsewhere("lan", ip_address("192.0.2.14")) == [ip_address("203.0.113.13")]
    assert found.elsewhere("lan", ip_address("203.0.113.13")) == [ip_address("192.0.2.14")]


def test_what_the_nodes_will_not_have_is_said(tmp_path: Path) -> None:
    assert any("/srv" in note and "missing" in note for note in plan(tmp_path).notes())


def test_an_included_file_counts_too(tmp_path: Path) -> None:
    more = "pipeline: [rfs: {path: /srv}, service: {unit: x}]\n"
    found = plan(tmp_path, f"include: [more.yaml]\n{MODULE}", more=more, other="pipeline: [fence: {}]\n")
    assert found.has_data
    assert len(found.hindrances()) == 1


def test_the_token_of_a_lease_is_replaced_where_the_nodes_look_for_it(tmp_path: Path) -> None:
    text = f'{MODULE}witness: {{lease: {{token: "file:/etc/safekit/w.token"}}}}\n'
    found = plan(tmp_path, text)
    assert found.token_file == "/etc/safekit/w.token"
    assert found.hindrances() == []


@pytest.mark.parametrize("text", ["{", "a: [", "\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as raised:
        plan(tmp_path, text)
    assert "module.yaml" in str(raised.value)


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    plan(tmp_path)
    with pytest.raises(ConfigError, match="there is no module 'db'"):
        blueprint.read(tmp_path, "db", CARDS)


def test_the_command_refuses_it_before_there_is_a_lab(tmp_path: Path) -> None:
    plan(tmp_path, MODULE.replace("apache: {}", "service: {unit: x}"))
    said: list[str] = []
    with pytest.raises(RefusedError, match="cannot be rehearsed in a lab: step 'service'"):
        rehearse_copy(tmp_path, "web", (), tmp_path, "512M", said.append)
    assert said == []
