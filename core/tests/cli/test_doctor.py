"""`safekit doctor` as an operator has it: on a node that runs, and on one whose daemon does not."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from safekit_sdk.testing import network_namespace

from .shell import Printing

LIGHT = """kind: light
checkers:
  - tcp: {name: ssh, port: 22, interval: 1s, timeout: 500ms, action: none}
"""


class Machine(Printing):
    def report(self, *words: str, code: int = 3) -> dict[str, Any]:
        return dict(json.loads(self("doctor", *words, "-o", "json", code=code)))

    def names(self, *words: str, code: int = 3) -> list[str]:
        return [finding["name"] for finding in self.report(*words, code=code)["findings"]]

    def pid(self) -> int:
        return int((self.place / "run" / "safekitd.lock").read_text())

    def kill(self) -> None:
        process = os.pidfd_open(self.pid())
        signal.pidfd_send_signal(process, signal.SIGKILL)
        assert select.select([process], [], [], 10.0)[0]
        os.close(process)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with network_namespace() as namespace:
        made = Machine(tmp_path, namespace)
        made("cluster", "init", "--node", "n1", "--address", "127.0.0.1")
        made("daemon", "start")
        try:
            yield made
        finally:
            made("daemon", "stop")


def test_a_node_that_is_well_has_notes_at_most_and_ends_with_0(machine: Machine) -> None:
    report = machine.report(code=0)
    assert (report["nodes"], report["modules"], report["not_looked_at"]) == (["n1"], [], [])
    assert machine.names(code=0) == ["realtime-off"]
    text = machine("doctor")
    assert "NOTE n1: real-time priority and locked memory are switched off" in text
    assert "to do: remove SAFEKIT_REALTIME=0" in text
    assert text.endswith("1 note; 1 node and 0 modules looked at\n")
    assert YAML(typ="safe").load(machine("doctor", "-o", "yaml")) == report


def test_a_module_is_looked_at_by_name_and_one_that_is_not_there_is_refused(machine: Machine) -> None:
    path = machine.place / "module.yaml"
    path.write_text(LIGHT)
    machine("module", "add", "watch", "--from", str(path))
    assert "stopped" in machine.names("watch", code=0)
    machine("module", "start", "watch")
    assert "resource-down" in machine.names("watch")
    edited = machine.place / "etc" / "modules" / "watch" / "module.yaml"
    edited.write_text(LIGHT.replace("22", "23"))
    assert "edits-not-applied" in machine.names("watch")
    assert "there are: watch" in machine("doctor", "wach", code=1)


def test_a_key_that_others_can_read_is_told_before_the_daemon_is_restarted(machine: Machine) -> None:
    key = machine.place / "etc" / "node.key"
    key.chmod(0o644)
    assert machine.names()[0] == "own-file"
    key.chmod(0o600)


def test_a_daemon_that_was_killed_one_that_was_stopped_and_one_that_cannot_start(machine: Machine) -> None:
    machine.kill()
    report = machine.report()
    assert [finding["name"] for finding in report["findings"]] == ["daemon-down"]
    assert "killed or crashed" in report["findings"][0]["what"]
    assert report["not_looked_at"][0].startswith("the other nodes")
    machine("daemon", "start")
    machine("daemon", "stop")
    assert "ended in order" in machine.report()["findings"][0]["what"]
    key = machine.place / "etc" / "node.key"
    key.chmod(0o644)
    machine("daemon", "start", code=1)
    text = machine("doctor", code=3)
    assert "the last trouble in its log: safekitd: the node key" in text
    assert "to do: chmod 600" in text
    key.chmod(0o600)
    machine("daemon", "start")


def test_a_daemon_that_stands_still_is_not_taken_for_a_dead_one(machine: Machine) -> None:
    pid = machine.pid()
    os.kill(pid, signal.SIGSTOP)
    began_s = time.monotonic()
    try:
        (finding,) = machine.report()["findings"]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert finding["name"] == "daemon-silent"
    assert "in state 'stopped'" in finding["what"]
    assert time.monotonic() - began_s < 20.0


def test_a_machine_on_which_nothing_was_done_says_what_to_do_first(tmp_path: Path) -> None:
    with network_namespace() as namespace:
        text = Machine(tmp_path, namespace)("doctor", code=3)
    assert "safekitd does not run" in text
    assert "safekit cluster init" in text
