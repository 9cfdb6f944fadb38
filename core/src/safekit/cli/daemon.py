"""`safekit daemon`: the daemon of this node, for machines where no service manager runs it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import typer

from safekit.cli.ask import ask
from safekit.settings import Settings
from safekit_sdk import ConfigError, PeerError

app = typer.Typer(help="The daemon of this node.", no_args_is_help=True)
START_S = 20.0
STOP_S = 300.0


@app.command()
def start() -> None:
    """Start safekitd in the background and wait until it answers."""
    settings = Settings()
    if _pid(settings) is not None:
        raise ConfigError("safekitd runs on this node already", hint="`safekit daemon status`")
    settings.log.mkdir(parents=True, exist_ok=True, mode=0o750)
    path = settings.log / "safekitd.log"
    with path.open("ab") as log:
        place = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "safekit.daemon"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    _await_answer(process, path, place)
    print(f"safekitd runs (process {process.pid}); its log is {path}")


def _await_answer(process: subprocess.Popen[bytes], log: Path, place: int) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise ConfigError(f"safekitd ended at once:\n{_tail(log, place)}")
        with contextlib.suppress(PeerError, TimeoutError):
            ask("ping", timeout_s=1.0)
            return
        time.sleep(0.05)
    raise TimeoutError(f"safekitd did not answer within {START_S:g} s; see {log}")


def _tail(log: Path, place: int) -> str:
    with log.open("rb") as file:
        file.seek(place)
        return file.read(4096).decode(errors="replace").strip()


@app.command()
def stop() -> None:
    """Hand over or stop this node's modules, then end safekitd. They start again with it."""
    pid = _pid(Settings())
    if pid is None:
        print("safekitd does not run on this node")
        return
    watched = os.pidfd_open(pid)
    signal.pidfd_send_signal(watched, signal.SIGTERM)
    deadline_s = time.monotonic() + STOP_S
    while time.monotonic() < deadline_s and _pid(Settings()) == pid:
        time.sleep(0.05)
    os.close(watched)
    if _pid(Settings()) == pid:
        raise TimeoutError(f"safekitd (process {pid}) did not end within {STOP_S:g} s")


@app.command()
def status() -> None:
    """Say whether safekitd runs here and answers."""
    pid = _pid(Settings())
    if pid is None:
        raise PeerError("safekitd does not run on this node", hint="`safekit daemon start`")
    answer = ask("ping", timeout_s=5.0)
    print(f"safekitd {answer['version']} runs on {answer['node']} (process {pid})")


@app.command()
def run() -> None:
    """Run safekitd in the foreground, as a service manager wants it."""
    from safekit.daemon.__main__ import main

    main()


def _pid(settings: Settings) -> int | None:
    """The process that holds the daemon's lock."""
    try:
        pid = int((settings.run / "safekitd.lock").read_text() or "0")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if b"safekit" in command else None
