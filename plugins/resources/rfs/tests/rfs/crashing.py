"""Programs that write to a replicated directory until they are killed, and what each of them was told.

Each says a number when it is acknowledged: an fsync of a line, a commit of SQLite, a commit of PostgreSQL. `missing`
tells what of that is not there afterwards, after whatever recovery the program's own files ask for."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

COMMITTING: Final = Path(__file__).with_name("committing.py")
RECORDER: Final = """\
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
for number in range(int(sys.argv[2]), 1 << 40):
    os.write(file, b"%d\\n" % number)
    os.fsync(file)
    print(number, flush=True)
"""
USER: Final = "postgres"
PATIENCE_S: Final = 300.0


class Program(Protocol):
    def begin(self, directory: Path) -> None: ...

    def end(self) -> None:
        """It is killed; afterwards everything that it was told is known."""

    def missing(self, directory: Path) -> list[str]:
        """In the directory, while no program works there."""


class Numbering:
    """A process that says what was acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def next(self) -> int:
        """What was sent and not acknowledged may be there as well."""
        return max(self.acknowledged, default=0) + 1000

    def start(self, *words: str, **more: object) -> None:
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(words, stdout=pipe, stderr=nothing, text=True, **more)  # type: ignore[call-overload]
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()

    def _read(self, lines: Iterable[str]) -> None:
        self.acknowledged |= {int(line) for line in lines if line.endswith("\n") and line.strip().isdigit()}

    def end(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            assert self._reader
            self._reader.join()
        self._process = None

    def _told(self, there: set[int]) -> list[str]:
        lost = sorted(self.acknowledged - there)
        return [f"{type(self).__name__}: {len(lost)} acknowledged are not there, {lost[0]} the first"] if lost else []


class Recorder(Numbering):
    """Of acknowledged fsyncs."""

    def begin(self, directory: Path) -> None:
        self.start(sys.executable, "-c", RECORDER, str(directory / "recorded"), str(self.next))

    def missing(self, directory: Path) -> list[str]:
        path = directory / "recorded"
        lines = path.read_text().splitlines() if path.exists() else []
        return self._told({int(line) for line in lines if line.isdigit()})


class Sqlite(Numbering):
    def __init__(self, journal_mode: str) -> None:
        super().__init__()
        self._journal_mode = journal_mode

    def begin(self, directory: Path) -> None:
        place = str(directory / f"{self._journal_mode}.db")
        self.start(sys.executable, str(COMMITTING), place, self._journal_mode, str(self.next))

    def missing(self, directory: Path) -> list[str]:
        database = sqlite3.connect(directory / f"{self._journal_mode}.db")
        try:
            if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return [f"the database with journal mode {self._journal_mode} is damaged"]
            exists = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'numbers'").fetchone()
            found = database.execute("SELECT number FROM numbers").fetchall() if exists else ()
            return self._told({number for (number,) in found})
        finally:
            database.close()


class Postgres(Numbering):
    """A server in the directory; the process is one `psql` that is fed one commit after the other."""

    def __init__(self, programs: Path) -> None:
        super().__init__()
        self._programs = programs
        self._sockets = Path(tempfile.mkdtemp(prefix="rfs-crashes-"))  # the path of a socket is short
        shutil.chown(self._sockets, USER, USER)
        self._server: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        shutil.rmtree(self._sockets)

    def make(self, directory: Path) -> None:
        """Once, where the first synchronisation finds it."""
        data = directory / "postgres"
        data.mkdir(mode=0o700, parents=True)
        shutil.chown(data, USER, USER)
        self._run("initdb", "--no-sync", "--auth=trust", "-D", str(data))
        self._serve(directory)
        self._ask("CREATE TABLE numbers (number bigint PRIMARY KEY)")
        self._quit()

    def _run(self, program: str, *words: str) -> str:
        argv = [str(self._programs / program), *words]
        done = subprocess.run(
            argv, check=False, user=USER, group=USER, extra_groups=(), cwd="/", capture_output=True, timeout=PATIENCE_S
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr[-500:]!r}")
        return done.stdout.decode()

    def _ask(self, query: str) -> str:
        return self._run("psql", "-h", str(self._sockets), "-d", USER, "-XqtAc", query)

    def _serve(self, directory: Path) -> None:
        data = directory / "postgres"
        (data / "postmaster.pid").unlink(missing_ok=True)
        settings = ("listen_addresses=", f"unix_socket_directories={self._sockets}", "shared_buffers=16MB")
        words = [word for one in settings for word in ("-c", one)]
        self._server = subprocess.Popen(
            [str(self._programs / "postgres"), "-D", str(data), *words],
            user=USER,
            group=USER,
            extra_groups=(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ready = [str(self._programs / "pg_isready"), "-q", "-h", str(self._sockets)]
        while subprocess.run(ready, check=False, timeout=PATIENCE_S).returncode:
            if self._server.poll() is not None:
                raise RuntimeError("PostgreSQL does not start")
            time.sleep(0.1)

    def _quit(self) -> None:
        """As a crash of the machine ends it: all its processes at once."""
        if self._server is not None:
            listed = subprocess.run(["pgrep", "-P", str(self._server.pid)], check=False, capture_output=True, text=True)
            for pid in (self._server.pid, *map(int, listed.stdout.split())):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self._server.wait()
        self._server = None

    def begin(self, directory: Path) -> None:
        self._serve(directory)
        insert = "insert into numbers values ($i) returning number;"
        feed = f'i={self.next}; while :; do echo "{insert}"; i=$((i+1)); done'
        psql = f"{self._programs}/psql -h {self._sockets} -d {USER} -XqtA -v ON_ERROR_STOP=1"
        self.start("sh", "-c", f"({feed}) | {psql}", user=USER, group=USER, extra_groups=(), cwd="/")

    def end(self) -> None:
        self._quit()
        super().end()

    def missing(self, directory: Path) -> list[str]:
        self._serve(directory)
        try:
            return self._told(set(map(int, self._ask("SELECT number FROM numbers").split())))
        finally:
            self._quit()


def postgres_programs() -> Path | None:
    """Those of the newest PostgreSQL that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    return found[-1].parent if found else None
