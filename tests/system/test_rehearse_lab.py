"""A copy of a cluster in namespaces: the same drills and report, and nothing is left whatever ends it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_cluster import SAFEKIT

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(600)]
CLUSTER = """\
name: ward
id: 6d1f2a52-9d5e-4f3a-8a55-0a4c1d1f2a52
revision: 3
networks: [{name: lan, port: 4800}, {name: back, port: 4900}]
nodes:
  - {name: db-a, public_key: "0", addresses: {lan: 192.0.2.11, back: 198.51.100.11}}
  - {name: db-b, public_key: "0", addresses: {lan: 192.0.2.12, back: 198.51.100.12}}
"""
MODULE = """\
kind: mirror
heartbeat: {interval: 50ms, lost_after: 1s}
pipeline:
  - vip: {address: 192.0.2.100/24}
  - apache: {}
checkers:
  - ping: {name: gateway, hosts: [192.0.2.1], interval: 1s}
witness:
  lease: {token: "file:/etc/safekit/witness.token", lease: 4s}
"""


class Command:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.output = process, ""

    @property
    def lab(self) -> str:
        return f"rehearse-{self.process.pid}"

    def until(self, words: str, time_s: float = 200.0) -> None:
        """It has said so. It fails when it ended before."""
        assert self.process.stdout is not None
        until_s = time.monotonic() + time_s
        while words not in self.output:
            assert time.monotonic() < until_s, self.output
            if select.select([self.process.stdout], [], [], 1.0)[0]:
                said = os.read(self.process.stdout.fileno(), 65536).decode()
                assert said, self.output
                self.output += said

    def end(self) -> int:
        said, _ = self.process.communicate(timeout=500.0)
        self.output += said.decode()
        return self.process.returncode


def labs() -> str:
    return subprocess.run([SAFEKIT, "lab", "list", "-o", "json"], capture_output=True, text=True, check=True).stdout


@contextmanager
def rehearsal(place: Path, *words: str) -> Iterator[Command]:
    """On a machine that is none of the nodes, with a copy of a node's configuration."""
    module = place / "etc" / "modules" / "web"
    module.mkdir(parents=True)
    (module / "module.yaml").write_text(MODULE)
    (place / "etc" / "cluster.yaml").write_text(CLUSTER)
    (place / "out").mkdir()
    asked = ("rehearse", "web", "--lab", "--probe", "http://192.0.2.100/", "--out", str(place / "out"), *words)
    with subprocess.Popen(
        [SAFEKIT, *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "SAFEKIT_ETC": str(place / "etc")},
    ) as process:
        try:
            yield Command(process)
        finally:
            process.kill()


def test_a_copy_of_a_cluster_does_the_same_drills_and_its_report_says_that_it_is_one(tmp_path: Path) -> None:
    drills = "kill-app,power-off"
    with rehearsal(tmp_path, "--drills", drills) as command:
        assert command.end() == 0, command.output
    assert command.lab not in labs()
    (path,) = (tmp_path / "out").glob("rehearsal-lab-web-*.json")
    report = json.loads(path.read_text())["report"]
    assert [one["drill"] for one in report["outcomes"]] == drills.split(",")
    assert (report["lab"], report["cluster"], report["nodes"]) == (os.uname().nodename, "ward", ["db-a", "db-b"])
    for file in (path, path.with_suffix(".html")):
        said = subprocess.run([SAFEKIT, "rehearse", "verify", file], capture_output=True, text=True, check=True).stdout
        assert f"is as the lab on {os.uname().nodename} wrote it" in said
    path.write_text(re.sub(r'"lab": "[^"]+"', '"lab": ""', path.read_text()))
    forged = subprocess.run([SAFEKIT, "rehearse", "verify", path], capture_output=True, text=True, check=False)
    assert "was changed" in forged.stderr


def test_who_ends_it_gets_a_report_and_the_lab_is_gone(tmp_path: Path) -> None:
    with rehearsal(tmp_path, "--drills", "disk-full", "--path", "/var/lib", "--seconds", "110") as command:
        command.until("disk-full: a file system of the node that serves has no room (")
        command.process.send_signal(signal.SIGTERM)
        assert command.end() == 3, command.output
    assert "NOT PASSED the operator ended it" in command.output
    assert len(list((tmp_path / "out").glob("rehearsal-lab-web-*"))) == 2
    assert command.lab not in labs()


def test_with_a_command_that_is_killed_the_lab_ends(tmp_path: Path) -> None:
    with rehearsal(tmp_path) as command:
        command.until("starting the module")
        assert command.lab in labs()
        command.process.kill()
        command.process.wait(30.0)
        until_s = time.monotonic() + 60.0
        while command.lab in labs():
            assert time.monotonic() < until_s
