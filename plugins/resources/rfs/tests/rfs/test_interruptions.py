"""Signals to programs that wait for an answer: what does not end them does not disturb them either."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .mounts import Served, served

CALLS = {
    "mkdir": "libc.mkdir(b'new', 0o755)",
    "open": "min(0, libc.open(b'new', os.O_CREAT | os.O_RDWR, 0o644))",
    "write": "min(0, libc.write(fd, b'x', 1))",
    "rename": "libc.rename(b'file', b'new')",
    "unlink": "libc.unlink(b'file')",
    "fsync": "libc.fsync(fd)",
}
SCRIPT = """
import ctypes, os, resource, signal
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # whoever started the tests may ignore it
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.siginterrupt(signal.SIGUSR1, False)
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("file", os.O_RDWR)
print("ready", flush=True)
number = {call} and ctypes.get_errno()
print(os.strerror(number), flush=True)
"""


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("interruptions"), kind="waiting") as mount:
        yield mount
        assert mount.differences() == []


@contextlib.contextmanager
def a_signalled_program(mount: Served, call: str) -> Iterator[subprocess.Popen[str]]:
    """It waits for the file system, and the data path knows that it has a signal that it handles."""
    (mount.directory / "file").touch()
    mount.tell("hold")
    command = [sys.executable, "-c", SCRIPT.replace("{call}", CALLS[call])]
    with subprocess.Popen(command, cwd=mount.directory, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            end_s = time.monotonic() + 10
            while not waits_killably(process.pid):
                assert time.monotonic() < end_s
                assert process.poll() is None, process.stdout.read()
                process.send_signal(signal.SIGUSR1)
                time.sleep(0.01)
            os.statvfs(mount.directory)  # it is answered after the kernel's word of the signal
            yield process
        finally:
            mount.tell("go")
            process.kill()


def waits_killably(pid: int) -> bool:
    return "State:\tD" in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.parametrize("call", CALLS)
def test_a_signal_that_is_handled_does_not_interrupt_a_call(mount: Served, call: str) -> None:
    with a_signalled_program(mount, call) as process:
        assert process.poll() is None
        mount.tell("go")
        assert process.stdout
        assert process.stdout.read() == "Success\n"
    for path in mount.directory.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGQUIT])
@pytest.mark.parametrize("call", ["mkdir", "fsync"])
def test_a_signal_that_ends_the_program_ends_it_while_it_waits(mount: Served, call: str, number: int) -> None:
    with a_signalled_program(mount, call) as process:
        process.send_signal(number)
        assert process.wait(10) == -number
    assert not (mount.directory / "new").exists()
