"""Real processes under names that nothing else on the machine has. Each is killed and reaped however a test ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from safekit_sdk.cgroup import remove_cgroup, unified_mount

Start = Callable[..., "subprocess.Popen[bytes]"]

APACHE = """
ServerRoot {root}
PidFile {root}/apache.pid
Listen 127.0.0.1:{port}
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
ServerName localhost
ErrorLog {root}/error.log
User www-data
Group www-data
StartServers 2
MaxConnectionsPerChild 1
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """An executable that sleeps, with a name of its own, short enough for the kernel to keep."""
    return Path(shutil.copy("/bin/sleep", tmp_path / f"sk{secrets.token_hex(5)}"))


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program, in a session of its own, that its test may kill."""
    started: list[subprocess.Popen[bytes]] = []

    def run(program: Path | str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([str(program), *(arguments or ("600",))], start_new_session=True, **options)
        started.append(process)
        return process

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A real cgroup, removed afterwards."""
    mount = unified_mount()
    assert mount, "cgroup v2 is not mounted"
    path = mount / f"sk-test-{secrets.token_hex(5)}"
    path.mkdir()
    yield path
    remove_cgroup(path)
    assert not path.exists()


@pytest.fixture
def apache(tmp_path: Path) -> Iterator[tuple[int, Path, int]]:
    """A real Apache whose workers serve one connection each: its main process, configuration and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = tmp_path / "apache.conf"
    configuration.write_text(APACHE.format(root=tmp_path, port=port))
    command = ["/usr/sbin/apache2", "-f", str(configuration), "-DFOREGROUND"]
    main = subprocess.Popen(command, start_new_session=True)
    try:
        answers(port)
        yield main.pid, configuration, port
    finally:
        os.killpg(main.pid, signal.SIGKILL)
        main.wait(10)


def answers(port: int) -> None:
    """Return when the server has answered one request."""
    for _ in range(1000):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if connection.recv(5) == b"HTTP/":
                return
        time.sleep(0.01)
    raise AssertionError("Apache does not answer")


@pytest.fixture
def request_page() -> Callable[[int], None]:
    return answers


@pytest.fixture
def open_descriptors() -> Callable[[], int]:
    return lambda: len(list(Path("/proc/self/fd").iterdir()))
