"""pgbench on a PostgreSQL whose data are in the directory that is measured."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gluster

USER = "postgres"
SCALE = 4
CLIENTS = 4
PATIENCE_S = 120.0
RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
FEWER = ("shared_buffers=64MB", "listen_addresses=")
"""Settings beside the defaults; above all, fsync stays on."""


def programs() -> Path | None:
    """Those of the newest PostgreSQL that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), key=lambda path: float(path.parts[4]))
    return found[-1].parent if found else None


class Postgres:
    """`template` is made once on the plain disk, and copied to where it is measured."""

    def __init__(self, folder: Path, place: Path) -> None:
        self._folder = folder
        self._template = place / "template"
        self._sockets = Path(tempfile.mkdtemp(prefix="rfs-bench-"))  # the path of a socket is short
        shutil.chown(self._sockets, USER, USER)
        self._log = place / "postgres.log"
        self._template.mkdir(mode=0o700)
        shutil.chown(self._template, USER, USER)
        self._run("initdb", "--no-sync", "--auth=trust", "-D", str(self._template))
        with self._served(self._template):
            self._run("createdb", "-h", str(self._sockets), USER, accepted=(0, 1))
            self._run("pgbench", "-h", str(self._sockets), "-i", "-q", "-s", str(SCALE), USER)

    def close(self) -> None:
        shutil.rmtree(self._sockets)

    def _run(self, program: str, *words: str, accepted: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [str(self._folder / program), *words],
            check=False,
            user=USER,
            group=USER,
            extra_groups=(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )
        if done.returncode not in accepted:
            raise RuntimeError(f"{program}: {done.stdout[-2000:]}")
        return done.stdout

    @contextmanager
    def _served(self, data: Path) -> Iterator[None]:
        settings = [word for one in (*FEWER, f"unix_socket_directories={self._sockets}") for word in ("-c", one)]
        with self._log.open("ab") as log:
            server = subprocess.Popen(
                [str(self._folder / "postgres"), "-D", str(data), *settings],
                user=USER,
                group=USER,
                extra_groups=(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            ready = [str(self._folder / "pg_isready"), "-q", "-h", str(self._sockets)]
            gluster.wait(lambda: not subprocess.run(ready, check=False, timeout=PATIENCE_S).returncode, "PostgreSQL")
            yield
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                server.send_signal(signal.SIGQUIT)
                server.wait(PATIENCE_S)

    def copy_to(self, top: Path) -> None:
        subprocess.run(["cp", "-a", self._template, top / "postgres"], check=True, timeout=PATIENCE_S)
        os.sync()

    def rate(self, top: Path, seconds: float) -> float:
        """Transactions per second."""
        with self._served(top / "postgres"):
            words = ["-n", "-c", str(CLIENTS), "-T", str(max(1, round(seconds)))]
            told = self._run("pgbench", "-h", str(self._sockets), *words, USER)
        found = RATE.search(told)
        if found is None:
            raise RuntimeError(f"pgbench: {told[-2000:]}")
        return float(found[1])
