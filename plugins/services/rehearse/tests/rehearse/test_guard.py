"""Each harm is really done, and really undone: at its time, when asked, and when its guard is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safekit_rehearse.slowing import HELD_S

from safekit_sdk.procfs import process_stat
from safekit_sdk.testing import Namespace, network_namespace

FAR_S = 100.0


class Node:
    """One network namespace, with what safekitd would have in its run directory."""

    def __init__(self, namespace: Namespace, run: Path) -> None:
        self._namespace, self.run = namespace, run

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self._namespace.prefix, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **request: object) -> dict[str, Any]:
        argv = [*self._namespace.prefix, sys.executable, "-m", "safekit_rehearse.agent"]
        environment = {**os.environ, "SAFEKIT_RUN": str(self.run)}
        text = json.dumps(request)
        done = subprocess.run(argv, input=text, capture_output=True, text=True, env=environment, timeout=60, check=True)
        return dict(json.loads(done.stdout))

    def arm(self, kind: str, seconds: float, **order: object) -> str:
        answer = self.ask(do="arm", order={"kind": kind, "seconds": seconds, **order})
        return str(answer.get("result") or answer["error"]["message"])

    def rules(self) -> str:
        return subprocess.run(
            [*self._namespace.prefix, "nft", "list", "ruleset"], capture_output=True, text=True, check=True
        ).stdout

    @property
    def guard(self) -> int:
        return int((self.run / "rehearse.lock").read_text())


def wait(there: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 30.0
    while not there():
        assert time.monotonic() < until_s
        time.sleep(0.02)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with network_namespace() as namespace:
        made = Node(namespace, tmp_path)
        try:
            yield made
        finally:
            if (tmp_path / "rehearse.lock").exists():
                made.ask(do="undo")


def state(pid: int) -> str:
    found = process_stat(pid)
    return found.state if found else ""


@contextmanager
def daemon(node: Node) -> Iterator[int]:
    """What holds the lock as safekitd does."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # safekit"]) as process:
        (node.run / "safekitd.lock").write_text(str(process.pid))
        try:
            yield process.pid
        finally:
            process.kill()


def test_a_node_that_is_cut_off_is_given_back_at_its_time_and_says_what_was_done(node: Node) -> None:
    assert node.arm("partition", 1.5, addresses=["10.0.0.2", "fd00::2"], port=80) == "armed"
    wait(lambda: "10.0.0.2 expires" in node.rules())
    assert "tcp dport 80 accept" in node.rules()
    wait(lambda: not node.rules())
    wait(lambda: bool(node.ask(do="outcome")["result"]))
    outcome = node.ask(do="outcome")["result"]
    assert outcome["done"].endswith("but those of the watched port 80")
    assert outcome["undone"] >= outcome["begun"] + 1.0


def test_a_node_is_given_back_when_asked_and_has_one_drill_at_a_time(node: Node) -> None:
    assert node.arm("isolate", FAR_S) == "armed"
    wait(lambda: "meta l4proto @inputany" in node.rules())
    assert "another drill is under way" in node.arm("partition", FAR_S, addresses=["10.0.0.2"])
    assert node.ask(do="undo")["result"] is True
    assert node.rules() == ""
    assert node.ask(do="undo")["result"] is False


def test_a_node_is_given_back_when_its_guard_is_killed(node: Node) -> None:
    assert node.arm("isolate", FAR_S) == "armed"
    wait(lambda: bool(node.rules()))
    os.kill(node.guard, signal.SIGKILL)
    wait(lambda: not node.rules())


def test_a_frozen_daemon_goes_on_also_when_the_guard_is_killed(node: Node) -> None:
    with daemon(node) as pid:
        assert node.arm("freeze", FAR_S) == "armed"
        wait(lambda: state(pid) == "T")
        os.kill(node.guard, signal.SIGKILL)
        wait(lambda: state(pid) == "S")


def test_a_guard_that_was_ended_before_its_harm_does_none(node: Node) -> None:
    order = {"kind": "freeze", "seconds": FAR_S, "run": str(node.run)}
    with daemon(node) as pid, node.start(sys.executable, "-m", "safekit_rehearse.guard") as guard:
        assert guard.stdin is not None
        assert guard.stdout is not None
        guard.stdin.write(f"{json.dumps(order)}\n".encode())
        guard.stdin.flush()
        assert guard.stdout.readline() == b"ready\n"
        os.kill(node.guard, signal.SIGTERM)
        guard.stdin.write(b"go\n")
        guard.stdin.flush()
        wait(lambda: bool(node.ask(do="outcome")["result"]))
        assert node.ask(do="outcome")["result"]["done"] == ""
        assert state(pid) == "S"


def test_a_full_disk_has_room_again(node: Node, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=True)
    try:
        assert "4 MiB are free there" in node.arm("disk-full", FAR_S, path=str(place), fill_bytes=1 << 20)
        assert node.arm("disk-full", FAR_S, path=str(place), fill_bytes=1 << 30) == "armed"
        wait(lambda: os.statvfs(place).f_bfree == 0)
        assert list(place.iterdir()) == []
        os.kill(node.guard, signal.SIGKILL)
        wait(lambda: os.statvfs(place).f_bfree > 0)
    finally:
        wait(lambda: subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode == 0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, on a file."""
    place, image = tmp_path / "slow", tmp_path / "image"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        wait(lambda: subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode == 0)


def is_slow(place: Path) -> bool:
    """Whether a synced write had to wait."""
    begun_s = time.monotonic()
    with (place / "probe").open("wb") as file:
        file.write(b"x")
        os.fsync(file.fileno())
    return time.monotonic() - begun_s > HELD_S / 2


def takes_writes(place: Path) -> bool:
    argv = ["timeout", "-s", "KILL", "10", "touch", str(place / "probe")]
    return subprocess.run(argv, check=False).returncode == 0


@pytest.mark.long
def test_a_slow_disk_is_quick_again_at_its_time_and_when_its_guard_is_killed(node: Node, disk: Path) -> None:
    assert "which cannot be made slow" in node.arm("slow-disk", FAR_S, path="/proc")
    assert node.arm("slow-disk", 1.0, path=str(disk)) == "armed"
    wait(lambda: is_slow(disk))
    wait(lambda: bool(node.ask(do="outcome")["result"]))
    assert "(ext4) took writes for 50 of 300 ms only" in node.ask(do="outcome")["result"]["done"]
    assert node.arm("slow-disk", FAR_S, path=str(disk)) == "armed"
    wait(lambda: is_slow(disk))
    os.kill(node.guard, signal.SIGKILL)
    wait(lambda: takes_writes(disk))
    wait(lambda: not is_slow(disk))


def test_the_application_is_who_listens_at_the_port(node: Node) -> None:
    program = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 8099)); print('up', flush=True); time.sleep(600)"
    )
    assert "no process of this node listens on port 8099" in node.arm("kill-app", 1.0, port=8099)
    with node.start(sys.executable, "-c", program) as server, socket.socket() as bystander:
        bystander.bind(("127.0.0.1", 0))
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        assert node.arm("kill-app", 1.0, port=8099) == "armed"
        assert server.wait(20.0) == -signal.SIGKILL


@pytest.mark.parametrize(
    "order",
    [
        {"kind": "partition", "seconds": 5, "addresses": ["10.0.0.2; flush ruleset"]},
        {"kind": "partition", "seconds": 5},
        {"kind": "partition", "seconds": 1e9, "addresses": ["10.0.0.2"]},
        {"kind": "disk-full", "seconds": 5, "path": "../etc"},
        {"kind": "freeze", "seconds": 5},
        {"kind": "burn", "seconds": 5},
    ],
    ids=["no address", "nobody", "too long", "no directory", "no daemon", "unknown"],
)
def test_what_cannot_be_done_or_not_undone_is_refused_before_anything(node: Node, order: dict[str, Any]) -> None:
    assert "error" in node.ask(do="check", order=order)
    assert node.rules() == ""
