"""Real witnesses for the tests: processes of their own on loopback, removed with all that they made."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safekit_witness import LeaseConfig, LeaseWitness, control, wire
from safekit_witness.cli import app
from safekit_witness.directory import Directory
from safekit_witness.tokens import Token
from typer.testing import CliRunner

from safekit_sdk import Lease, Refusal
from safekit_sdk.testing import a_context

PATIENCE_S = 20.0
COMMAND = (sys.executable, "-m", "safekit_witness")
_names = itertools.count(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(*words: str, directory: Path) -> str:
    """What the command prints, run in this process; RuntimeError with its complaint."""
    result = CliRunner().invoke(app, [*words, "--dir", str(directory)])
    if result.exception is not None:
        raise RuntimeError(str(result.exception))
    return result.stdout


def program(*words: str, directory: Path) -> str:
    """The same as a process of its own."""
    argv = [*COMMAND, *words, "--dir", str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{done.returncode}: {done.stderr}")
    return done.stdout


@dataclass(slots=True)
class WitnessProcess:
    directory: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    starts_at: int = 0
    """Where in its log the present process begins."""

    log_directory: Path | None = None

    @property
    def log_path(self) -> Path:
        return (self.log_directory or self.directory.parent) / f"{self.directory.name}.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def init(self) -> None:
        Directory(self.directory).create("127.0.0.1", self.port)

    def start(self) -> None:
        """Return when it listens."""
        self.spawn()
        self.listening()

    def spawn(self, *prefix: str) -> None:
        with self.log_path.open("ab") as log:
            self.starts_at = log.tell()
            self.process = subprocess.Popen([*prefix, *COMMAND, "run", "--dir", str(self.directory)], stderr=log)

    def listening(self) -> None:
        give_up_s = time.monotonic() + PATIENCE_S
        while "listens on" not in self.log[self.starts_at :]:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            assert time.monotonic() < give_up_s, self.log
            time.sleep(0.01)

    def kill(self, how: int = signal.SIGKILL) -> int:
        """End it and return its exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(how)
        return process.wait(PATIENCE_S)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def connections(self) -> int:
        """Of its port that are established."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(line[1].endswith(f":{self.port:04X}") and line[3] == "01" for line in lines)

    def ask(self, **question: Any) -> Any:
        """As the operator's command does, in this process."""
        return control.ask(self.directory / "control.sock", control.Ask(**question))

    def admit(self, cluster: str = "") -> str:
        """Its token; of a cluster of a new name unless one is given."""
        pair = wire.key_pair()
        self.ask(op="admit", cluster=cluster or f"cluster{next(_names)}", public_key=pair.public)
        server = wire.pair_of(Directory(self.directory).identity().secret)
        return str(Token("127.0.0.1", self.port, server.public, pair.secret))


@contextlib.contextmanager
def running(directory: Path, count: int = 1, log_directory: Path | None = None) -> Iterator[tuple[WitnessProcess, ...]]:
    """So many new ones. They give nothing away before they have run for as long as a lease counts."""
    witnesses = tuple(
        WitnessProcess(directory / f"witness{number}", log_directory=log_directory) for number in range(count)
    )
    try:
        for one in witnesses:
            one.init()
            one.spawn()
        for one in witnesses:
            one.listening()
        yield witnesses
    finally:
        for one in witnesses:
            one.kill()


async def until_given(witness: LeaseWitness, node: str, module: str = "web", after: int | None = None) -> Lease:
    """Ask until the lease is given."""
    give_up_s = time.monotonic() + PATIENCE_S
    while isinstance(answer := await witness.acquire(module, node, 0, after), Refusal):
        assert time.monotonic() < give_up_s, answer
        await asyncio.sleep(min(answer.wait_s, 0.1))
    return answer


def token_file(path: Path, *tokens: str) -> str:
    """The setting that names it."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("\n".join(tokens) + "\n")
    return f"file:{path}"


def a_node(tmp_path: Path, *tokens: str, lease: str = "1s", timeout: str = "500ms") -> LeaseWitness:
    """The plugin as a node loads it."""
    setting = token_file(tmp_path / f"token{next(_names)}", *tokens)
    config = LeaseConfig.model_validate({"token": setting, "lease": lease, "timeout": timeout})
    return LeaseWitness(config, a_context(tmp_path))
