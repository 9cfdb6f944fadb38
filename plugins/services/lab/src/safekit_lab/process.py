"""A process that was started in a node and goes on in the background."""

import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from .error import LabError
from .inside import node_pid


class Process:
    """pid is the host's number; node_pid the node's. A thread collects the process as soon as it ends."""

    def __init__(self, node: str, popen: subprocess.Popen[bytes], stdout: Path) -> None:
        self.node = node
        self.pid = popen.pid
        self.stdout = stdout
        self._popen = popen
        self._ended = threading.Event()
        threading.Thread(target=self._collect, name=f"collect-{node}-{popen.pid}", daemon=True).start()

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._popen.returncode if self._ended.is_set() else None

    @property
    def node_pid(self) -> int:
        return node_pid(self.pid)

    @property
    def output(self) -> str:
        """What it has written so far, to stdout and stderr."""
        return self.stdout.read_text(errors="replace")

    def wait(self, timeout_s: float) -> int:
        """Return the exit code; LabError if it has not ended in time (it goes on running)."""
        if not self._ended.wait(timeout_s):
            raise LabError(
                f"{self.node}: {self._popen.args!r} has not ended after {timeout_s} s; its output: {self.output[-500:]}"
            )
        return self._popen.returncode

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process and its group; do nothing if it has ended."""
        if not self._ended.is_set():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _collect(self) -> None:
        self._popen.wait()
        self._ended.set()
