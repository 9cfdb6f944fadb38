"""The command line as an operator has it: with a cluster of one node that runs, and without anything."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from safekit_sdk.testing import network_namespace

from .shell import Place

LIGHT = """kind: light
pipeline: []
checkers:
  - tcp: {name: ssh, port: 22, interval: 1s, timeout: 500ms, action: none}
"""
FARM = """kind: farm
nodes: [n1]
heartbeat: {interval: 50ms, lost_after: 500ms}
pipeline: []
"""


class Shell(Place):
    def __call__(self, *words: str, code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(*words, code=code, **environment)

    def module(self, name: str, content: str) -> Path:
        path = self.place / "files" / name / "module.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path.parent


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A cluster of one, and its daemon."""
    with network_namespace() as namespace:
        shell = Shell(tmp_path_factory.mktemp("n"), namespace)
        shell("cluster", "init", "--node", "n1", "--address", "127.0.0.1", "--name", "lone")
        shell("daemon", "start")
        yield shell
        shell("daemon", "stop")


def wait_until(there: Callable[[], bool], bound_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + bound_s
    while not there():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def heard(node: Shell) -> bool:
    """Whether both nodes answer, and each hears the other."""
    answers = json.loads(node("status", "-o", "json").stdout).values()
    return all("result" in answer and all(peer["alive"] for peer in answer["result"]["peers"]) for answer in answers)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Shell]:
    """A machine on which nothing was done yet."""
    with network_namespace() as namespace:
        yield Shell(tmp_path, namespace)


@pytest.fixture
def light(node: Shell) -> Iterator[str]:
    """A module that is started."""
    node("module", "add", "watch", "--from", str(node.module("watch", LIGHT)))
    node("module", "start", "watch")
    yield "watch"
    node("module", "stop", "watch", code=None)
    node("module", "remove", "watch", code=None)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Shell, Shell]]:
    """A node with the farm `web`, and a second node in its cluster whose daemon is not started yet."""
    with network_namespace() as namespace:
        first, second = Shell(tmp_path / "1", namespace), Shell(tmp_path / "2", namespace)
        first("cluster", "init", "--node", "n1", "--address", "127.0.0.1")
        first("daemon", "start")
        try:
            first("module", "add", "web", "--from", str(first.module("web", FARM)))
            first("module", "start", "web")
            first("module", "wait", "web", "UP")
            token = first("cluster", "token").stdout.strip()
            second("cluster", "join", token, "--node", "n2", "--address", "127.0.0.2")
            yield first, second
        finally:
            second("daemon", "stop")
            first("daemon", "stop")


# -- a module from its first day to its last


def test_a_module_is_added_started_seen_stopped_and_removed(node: Shell) -> None:
    added = node("module", "add", "watch", "--from", str(node.module("watch", LIGHT))).stdout
    assert "revision 1 is in force on n1" in added
    assert "safekit module start watch --all" in added
    node("module", "start", "watch", "--all")
    node("module", "wait", "watch", "UP")
    assert "watch   n1    UP" in node("status").stdout
    assert "tcp.ssh" in node("status", "--steps").stdout
    assert "running" in node("why", "watch").stdout
    assert "starting" in node("log", "watch").stdout
    assert "watch" in node("module", "list").stdout
    node("module", "restart", "watch")
    node("module", "wait", "watch", "UP")
    node("module", "stopstart", "watch")
    node("module", "wait", "watch", "UP")
    assert node("module", "remove", "watch", code=None).returncode != 0
    node("module", "stop", "watch")
    node("module", "remove", "watch")
    assert json.loads(node("module", "list", "-o", "json").stdout) == []


def test_a_change_is_planned_applied_and_taken_back(node: Shell, light: str) -> None:
    file = node.place / "etc" / "modules" / light / "module.yaml"
    assert node("plan", light).stdout.count("nothing changes") == 1
    file.write_text(LIGHT.replace("port: 22", "port: 23"))
    planned = node("plan", light, code=3)
    assert "port: 22 -> 23" in planned.stdout
    node("apply", light)
    assert "port: 23" in node("status", "-o", "json", code=None).stdout or "port: 23" in file.read_text()
    node("module", "wait", light, "UP")
    versions = json.loads(node("module", "versions", light, "-o", "json").stdout)
    assert len(versions) >= 2
    assert versions[0]["author"]
    assert "port]" not in node("diff", light, code=0).stdout
    old = str(versions[1]["number"])
    assert "~ checkers.tcp[ssh].port: 22 -> 23" in node("diff", light, "--from", old, code=3).stdout
    assert "~ checkers.tcp[ssh].port: 23 -> 22" in node("diff", light, "--to", old, code=3).stdout
    node("module", "rollback", light)
    assert file.read_text() == LIGHT
    node("module", "rollback", light, str(versions[0]["number"]))
    assert "port: 23" in file.read_text()


def test_a_mistake_is_told_with_its_place_and_changes_nothing(node: Shell, light: str) -> None:
    bad = node.module("bad", LIGHT.replace("interval", "intervall"))
    for words in (("validate", str(bad)), ("apply", light, "--from", str(bad)), ("plan", light, "--from", str(bad))):
        done = node(*words, code=None)
        assert done.returncode == 1
        assert "module.yaml:4:" in done.stdout + done.stderr
        assert "did you mean 'interval'" in done.stdout + done.stderr
    assert (node.place / "etc" / "modules" / light / "module.yaml").read_text() == LIGHT


def test_values_are_set_and_shown(node: Shell, light: str) -> None:
    node("set", light, "custom.queue", "long")
    assert "long" in node("get", light, "custom.queue").stdout
    assert node("get", light, "custom.queue", "-o", "json").stdout.startswith("{")
    assert "class.name" in node("set", light, "queue", "long", code=1).stderr


def test_brackets_in_what_others_say_are_brackets(node: Shell, light: str) -> None:
    node("set", light, "custom.queue", "[/red] [x]")
    assert "[/red] [x]" in node("get", light, "custom.queue").stdout
    assert "[/red] [x]" in node("status", "--steps").stdout
    assert "[/red] [x]" in node("log", light, "--events").stdout


def test_why_tells_the_cause_and_then_what_came_of_it(node: Shell, light: str) -> None:
    node("module", "restart", light)
    node("module", "wait", light, "UP")
    told = node("why", light).stdout
    assert "UP/Ready → UP/Transient\nrestarting in place: asked for" in told
    assert "later: running (UP/Ready)" in told
    earlier = node("why", light, "--back", "1").stdout
    assert "STOP/NotReady → WAIT/Transient" in earlier or "WAIT/Transient → UP/Transient" in earlier


def test_output_is_for_people_or_for_programs(node: Shell, light: str) -> None:
    for words in (
        ("status",),
        ("module", "list"),
        ("cluster", "status"),
        ("why", light),
        ("log",),
        ("plugins", "list"),
    ):
        assert json.loads(node(*words, "-o", "json").stdout)
        assert YAML(typ="safe").load(node(*words, "-o", "yaml").stdout)
        assert node(*words).stdout.strip()
    status: dict[str, Any] = json.loads(node("status", "-o", "json").stdout)
    found = status["n1"]["result"]["modules"][0]
    assert (found["name"], found["state"], found["readiness"], found["kind"]) == (light, "UP", "Ready", "light")


def test_a_wait_that_is_in_vain_ends_with_its_own_code(node: Shell, light: str) -> None:
    assert "did not become" in node("module", "wait", light, "STOP", "--timeout", "0.3", code=4).stderr


def test_what_a_light_module_cannot_do_is_refused(node: Shell, light: str) -> None:
    assert "safekit: " in node("module", "swap", light, code=6).stderr


def test_a_node_is_drained_and_taken_in_again_while_another_node_is_down(two: tuple[Shell, Shell]) -> None:
    node, _ = two
    assert "unreachable" in node("cluster", "status").stdout
    assert "n1 is drained" in node("farm", "drain", "n1", "--timeout", "20").stdout
    node("farm", "undrain", "n1")
    assert json.loads(node("farm", "show", "web", "--over", "0.1", "-o", "json").stdout)["nodes"][0]["weight"] == 100


def test_a_node_is_not_taken_from_a_module_that_runs_there(two: tuple[Shell, Shell]) -> None:
    first, second = two
    second("daemon", "start")
    wait_until(lambda: heard(first) and heard(second))
    first("module", "add", "watch", "--from", str(first.module("watch", LIGHT)))
    first("module", "start", "watch", "--all")
    fewer = str(first.module("fewer", LIGHT + "nodes: [n1]\n"))
    said = "module 'watch' runs on n2, and would never be stopped there when n2 is none of its nodes"
    assert said in first("plan", "watch", "--from", fewer, code=3).stdout
    refused = first("apply", "watch", "--from", fewer, code=6).stderr
    assert said in refused
    assert "`safekit module stop watch --on n2`" in refused
    for node in two:
        assert (node.place / "etc" / "modules" / "watch" / "module.yaml").read_text() == LIGHT
    first("module", "stop", "watch", "--on", "n2")
    first("apply", "watch", "--from", fewer)
    first("module", "wait", "watch", "UP")
    assert "watch   n2" not in first("status").stdout


# -- what is wrong


def test_names_that_are_none_are_told_with_those_that_are(node: Shell, light: str) -> None:
    assert light in node("module", "start", "nothing", code=1).stderr
    assert "n1" in node("module", "start", light, "--on", "n9", code=1).stderr
    assert "there is a module" in node("module", "add", light, "--from", str(node.module("x", LIGHT)), code=1).stderr
    assert "pip install safekit-sybase" in node("module", "add", "db", "--app", "sybase", code=1).stderr
    assert "one of the two" in node("module", "add", "db", code=1).stderr
    assert "mirror, farm or light" in node("module", "add", "db", "--app", "x", "--kind", "mirrow", code=1).stderr
    node("module", "star", code=2)


def test_a_token_has_a_life_that_is_a_duration(node: Shell) -> None:
    assert "ten" in node("cluster", "token", "--ttl", "ten", code=1).stderr
    assert len(node("cluster", "token", "--ttl", "1m").stdout.strip()) > 80


def test_a_second_daemon_is_refused(node: Shell) -> None:
    assert "runs on this node already" in node("daemon", "start", code=1).stderr
    assert "runs on n1" in node("daemon", "status").stdout


def test_a_machine_without_a_cluster_says_what_to_do(bare: Shell) -> None:
    assert "safekit daemon start" in bare("status", code=5).stderr
    assert "safekit cluster" in bare("daemon", "start", code=1).stderr
    assert "does not run" in bare("daemon", "status", code=5).stderr
    assert "does not run" in bare("daemon", "stop").stdout


def test_a_second_cluster_on_a_node_is_refused(node: Shell) -> None:
    refused = node("cluster", "init", "--address", "127.0.0.1", code=1)
    assert "in a cluster already" in refused.stderr


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--address", "10.0.0.300"), "10.0.0.300"),
        (("--address", "10.0.0.1", "--node", "a b"), "a b"),
        (("--address", "lan=10.0.0.1", "--address", "lan=10.0.0.2"), "two addresses on one network"),
        (("--address", "10.0.0.1", "--port", "70000"), "70000"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused_and_nothing_is_written(
    bare: Shell, words: tuple[str, ...], what: str
) -> None:
    assert what in bare("cluster", "init", *words, code=1).stderr
    assert not list((bare.place / "etc").glob("*")) if (bare.place / "etc").exists() else True


def test_a_file_that_is_not_there_or_not_ours_is_told(bare: Shell) -> None:
    assert "no module.yaml" in bare("validate", str(bare.place), code=1).stderr
    (bare.place / "module.yaml").write_bytes(b"\xff\xfe\x00")
    assert "module.yaml" in bare("validate", str(bare.place), code=1).stderr


def test_the_schema_and_a_good_file_need_no_daemon(bare: Shell) -> None:
    assert json.loads(bare("schema").stdout)["properties"]["kind"]
    assert "a good light module" in bare("validate", str(bare.module("m", LIGHT))).stdout


def test_an_app_writes_its_module_file(bare: Shell) -> None:
    words = ("module", "add", "web", "--app", "apache", "--vip", "10.0.0.100/24", "--set", "graceful=2s", "--dry-run")
    shown = YAML(typ="safe").load(bare(*words).stdout)
    assert shown["pipeline"] == [{"vip": {"address": "10.0.0.100/24"}}, {"apache": {"graceful": "2s"}}]
