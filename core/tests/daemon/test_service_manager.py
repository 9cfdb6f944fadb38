"""What a service manager hears through a real socket, from a real daemon too."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from safekit.daemon.service_manager import ServiceManager
from safekit_sdk.testing import network_namespace


class Manager:
    """systemd's end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.settimeout(20.0)

    def hear(self) -> dict[str, str]:
        lines = self._socket.recv(4096).decode().splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}

    def hears_nothing(self) -> bool:
        self._socket.setblocking(False)
        try:
            return not self._socket.recv(4096)
        except BlockingIOError:
            return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify") if request.param == "file" else f"@safekit-test-{os.getpid()}")
    yield made
    made.close()


def test_it_is_told_when_all_is_ready_that_the_loop_turns_and_that_it_ends(manager: Manager) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3600000000"})
    service.ready("node n1")
    assert manager.hear() == {"READY": "1", "STATUS": "node n1"}
    for _ in range(100):
        service.alive()
    assert manager.hear() == {"WATCHDOG": "1"}
    service.stopping()
    assert manager.hear()["STOPPING"] == "1"
    assert manager.hears_nothing()


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "10", "WATCHDOG_PID": "1"}], ids=str
)
def test_who_does_not_watch_is_not_told_that_the_loop_turns(manager: Manager, environment: dict[str, str]) -> None:
    ServiceManager({"NOTIFY_SOCKET": manager.address, **environment}).alive()
    assert manager.hears_nothing()


def test_who_does_not_listen_holds_nothing_up(tmp_path: Path) -> None:
    for address in ("", str(tmp_path / "nobody"), "@nobody-at-all", "x" * 500):
        ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"}).ready("here")
    full = Manager(str(tmp_path / "full"))
    service = ServiceManager({"NOTIFY_SOCKET": full.address})
    for _ in range(2000):
        service.ready("x")
    full.close()


def test_a_daemon_that_a_manager_started_tells_it_all(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    places = {f"SAFEKIT_{name.upper()}": str(tmp_path / name) for name in ("etc", "var", "run", "log")}
    told = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "900000"}
    environment = {**os.environ, **places, **told, "SAFEKIT_REALTIME": "0"}
    with network_namespace() as namespace:
        prefix = list(namespace.prefix)
        words = ("cluster", "init", "--node", "n1", "--address", "127.0.0.1")
        init = [*prefix, str(Path(sys.prefix) / "bin" / "safekit"), *words]
        subprocess.run(init, env=environment, check=True, timeout=60, capture_output=True)
        daemon = subprocess.Popen([*prefix, sys.executable, "-m", "safekit.daemon"], env=environment)
        try:
            assert manager.hear() == {"READY": "1", "STATUS": "node n1, modules: none"}
            assert [manager.hear() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3
            daemon.send_signal(signal.SIGTERM)
            heard = manager.hear()
            while "STOPPING" not in heard:
                heard = manager.hear()
            assert daemon.wait(30) == 0
        finally:
            daemon.kill()
            daemon.wait()
            manager.close()
