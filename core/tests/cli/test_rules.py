"""`safekit rules` as an operator has it: of a module that runs, and of a file that is not applied."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safekit_sdk.testing import network_namespace

from .shell import Printing

LIGHT = """kind: light
conditions: {closed: "tcp.? == down", quiet: "custom.quiet == up"}
checkers:
  - tcp: {name: a, port: 9, interval: 200ms, timeout: 100ms, action: none}
  - tcp: {name: b, port: 10, interval: 200ms, timeout: 100ms, action: stop}
rules:
  - rule: "gone: if (2 of (tcp.*) == down && quiet) for 1h then restart"
    message: nobody answers
  - "tcp_b: if (closed && quiet && custom.really == up) then stop"
"""
MIRROR = """kind: mirror
nodes: [n1, n2]
checkers:
  - tcp: {name: web, port: 80, action: restart}
  - tcp: {name: gw, host: 10.0.0.1, port: 22, when: pre, action: wait}
rules:
  - "cut: if (tcp.gw == down && remote.tcp.gw == up) for 5s then swap"
disabled_rules: [tcp_gw]
"""


class Machine(Printing):
    def json(self, *words: str) -> Any:
        return json.loads(self("rules", *words, "-o", "json"))

    def rules(self, *words: str) -> dict[str, Any]:
        return {rule["label"]: rule for rule in self.json("list", "web", *words)["rules"]}

    def file(self, content: str) -> str:
        path = self.place / "file.yaml"
        path.write_text(content)
        return str(path)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A cluster of one that runs the module `web`, of which nothing answers."""
    with network_namespace() as namespace:
        machine = Machine(tmp_path_factory.mktemp("n"), namespace)
        machine("cluster", "init", "--node", "n1", "--address", "127.0.0.1", "--name", "lone")
        machine("daemon", "start")
        machine("module", "add", "web", "--from", machine.file(LIGHT))
        machine("module", "start", "web")
        yield machine
        machine("daemon", "stop")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Machine]:
    """Without a daemon."""
    with network_namespace() as namespace:
        yield Machine(tmp_path, namespace)


def both_are_down(node: Machine) -> bool:
    values = json.loads(node("get", "web", "-o", "json"))["n1"]
    return all(values.get(name, {}).get("value") == "down" for name in ("tcp.a", "tcp.b"))


def wait_until(there: Any, bound_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + bound_s
    while not there():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


class TestOnANode:
    def test_the_list_tells_origin_text_action_and_whether_it_holds(self, node: Machine) -> None:
        wait_until(lambda: both_are_down(node))
        rules = node.rules()
        assert list(rules) == ["tcp_b", "gone"]
        assert rules["gone"]["condition"] == "2 of (tcp.*) == down && quiet"
        assert (rules["gone"]["action"], rules["gone"]["hold_s"], rules["gone"]["holds"]) == ("restart", 3600, False)
        assert rules["gone"]["origin"] == "web/module.yaml:7:11"
        assert rules["tcp_b"]["replaces"] == "web/module.yaml:5:5 action: stop"
        listed = node("rules", "list", "web")
        assert listed.startswith("web on n1: UP Ready\nRULE ")
        assert "in place of web/module.yaml:5:5 action: stop" in listed
        assert "closed     true   tcp.? == down" in listed

    def test_a_value_that_is_set_makes_a_rule_true_and_its_time_run(self, node: Machine) -> None:
        wait_until(lambda: both_are_down(node))
        node("set", "web", "custom.quiet", "up")
        wait_until(lambda: node.rules()["gone"]["holds"])
        wait_until(lambda: node.rules()["gone"]["held_s"] > 0)
        assert "s of 3600s" in node("rules", "list", "web")

    def test_the_tree_has_each_parts_value(self, node: Machine) -> None:
        wait_until(lambda: both_are_down(node))
        explained = node("rules", "explain", "web", "tcp_b")
        for line in (
            "tcp_b: if (closed && quiet && custom.really == up) then stop;  false",
            "false   custom.really == up",
            "custom.really is unknown",
            "true    closed",
            "tcp.a is down for",
        ):
            assert line in explained, explained
        parts = node.json("explain", "web", "gone")["rules"][0]["parts"]
        assert [(part["depth"], part["text"]) for part in parts] == [
            (0, "2 of (tcp.*) == down && quiet"),
            (1, "2 of (tcp.*) == down"),
            (1, "quiet"),
            (2, "custom.quiet == up"),
        ]

    def test_a_test_starts_from_the_values_there_are_and_touches_nothing(self, node: Machine) -> None:
        wait_until(lambda: both_are_down(node))
        words = ("test", "web", "--set", "custom.quiet=up", "--set", "custom.really=up")
        tried = node.json(*words)
        assert tried["values"]["tcp.a"] == {"value": "down", "source": "now"}
        assert [(s["state"], s["action"], s["rule"]) for s in tried["states"]] == [
            ("UP", "stop", "tcp_b"),
            ("WAIT", "", ""),
        ]
        healthy = node.json(*words, "--healthy")
        assert [s["action"] for s in healthy["states"]] == ["", ""]
        assert node("status").count("UP") == 1

    def test_why_names_the_rule_and_the_facts(self, node: Machine) -> None:
        source = node.file(LIGHT.replace("quiet) for 1h then", "custom.now == up) then"))
        node("apply", "web", "--from", source)
        wait_until(lambda: both_are_down(node))
        node("set", "web", "custom.now", "up")
        wait_until(lambda: "rule: gone" in node("why", "web"))
        change = json.loads(node("why", "web", "-o", "json"))["change"]
        assert re.search(r"nobody answers \(tcp\.[ab] down for", change["decision"]), change
        assert {"rule", "tcp.a", "tcp.b", "custom.now"} <= set(change["facts"])

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("list", "wbe"), "there is no module 'wbe' on n1"),
            (("explain", "web", "gon"), "module 'web' has no rule 'gon'\n  to do: did you mean 'gone'?"),
            (("test", "web", "--set", "tcp.c=down"), "there is no 'tcp.c' here\n  to do: did you mean 'tcp.b'?"),
            (("test", "web", "--set", "tcp.a=half"), "unknown value 'half'"),
            (("test", "web", "--for", "5"), "'5' is not a duration"),
        ],
    )
    def test_a_wrong_word_is_told_with_the_nearest(self, node: Machine, words: tuple[str, ...], said: str) -> None:
        assert said in node("rules", *words, code=1)


class TestOfAFile:
    def test_a_file_is_read_without_a_daemon(self, bare: Machine) -> None:
        listed = bare("rules", "list", "web", "--from", bare.file(MIRROR), code=1)
        assert "is no node" in listed or "there is no node" in listed

    def test_the_states_of_a_mirror(self, bare: Machine) -> None:
        source = bare.file(MIRROR.replace("nodes: [n1, n2]\n", ""))
        rules = {rule["label"]: rule for rule in bare.json("list", "web", "--from", source)["rules"]}
        assert {label: (rule["enabled"], rule["holds"]) for label, rule in rules.items()} == {
            "tcp_web": (True, None),
            "tcp_gw": (False, None),
            "cut": (True, None),
        }
        words = ("--set", "tcp.gw=down", "--set", "remote.tcp.gw=up", "--from", source)
        states = {one["state"]: one for one in bare.json("test", "web", *words)["states"]}
        assert {state: (one["action"], one["after_s"]) for state, one in states.items()} == {
            "PRIM": ("swap", 5),
            "ALONE": ("", 0),
            "SECOND": ("", 0),
            "WAIT": ("", 0),
        }
        early = bare("rules", "test", "web", *words, "--for", "3s")
        assert "rule 'cut' (swap) acts after 5 s" in early
        web = bare("rules", "test", "web", "--set", "tcp.web=down", "--from", source)
        assert "tcp.web is not checked in this state" in web

    def test_a_mistake_in_the_file_has_its_place(self, bare: Machine) -> None:
        source = bare.file(MIRROR.replace("nodes: [n1, n2]\n", "").replace("then swap", "then swop"))
        said = bare("rules", "list", "web", "--from", source, code=1)
        assert f"{source}:6:66: unknown action 'swop'\n  to do: did you mean 'swap'?" in said
