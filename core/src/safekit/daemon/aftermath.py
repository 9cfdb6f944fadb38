"""What can be told of a daemon of this node that does not run, or does not answer. It is read from outside: the lock,
the log, the history, and the configuration as a daemon that starts would read it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import sqlite3
from pathlib import Path
from typing import Final

import psutil

from safekit.bus import keys
from safekit.config.compiled import CompiledModule
from safekit.daemon.configuration import Configuration
from safekit.daemon.machine import machine_facts
from safekit.diagnosis.facts import DaemonTrouble
from safekit.settings import Settings
from safekit_sdk import SafekitError

TAIL_BYTES: Final = 256 << 10
WORDS: Final = 500
PREFLIGHTS: Final = 16
DAEMON: Final = "safekitd"
"""What the daemon's own lines say of their process; the hosts write to the same file."""
_LAST_LINE: Final = "SELECT body FROM entries WHERE module = '' AND kind = 'log' ORDER BY id DESC LIMIT 1"


async def read_aftermath(settings: Settings, module: str = "") -> DaemonTrouble:
    configuration = _configuration(settings)
    names = configuration.store.modules() if configuration is not None else []
    chosen = [name for name in names if module in ("", name)]
    compiled, lacks = await _compiled(configuration, chosen[:PREFLIGHTS]) if configuration is not None else ([], {})
    unchecked = tuple(chosen[PREFLIGHTS:])
    pid = lock_holder(settings.run / "safekitd.lock")
    machine = machine_facts(settings, compiled).model_copy(
        update={"lacks": {name: lacking for name, lacking in lacks.items() if lacking}, "unchecked": unchecked}
    )
    return DaemonTrouble(
        pid=pid,
        process_state=_state(pid),
        stopped_in_order=None if pid else _ended_in_order(settings.var / "history.db"),
        last_words=last_words(settings.log / "safekitd.log"),
        log=str(settings.log / "safekitd.log"),
        machine=machine,
        node=configuration.node if configuration is not None else "",
        modules=tuple(names),
    )


async def _compiled(
    configuration: Configuration, names: list[str]
) -> tuple[list[CompiledModule], dict[str, tuple[str, ...]]]:
    """The modules that are accepted, and by name what each lacks on this machine."""
    compiled: list[CompiledModule] = []
    lacks: dict[str, tuple[str, ...]] = {}
    for name in names:
        try:
            found = await configuration.compile(name, configuration.store.directory(name))
        except SafekitError as error:
            lacks[name] = (f"its configuration is not accepted: {error}"[:4000],)
        else:
            compiled.append(found.compiled)
            lacks[name] = tuple(one[:4000] for one in found.findings)
    return compiled, lacks


def _configuration(settings: Settings) -> Configuration | None:
    """None where key or cluster file are wrong: that is among the machine's facts."""
    try:
        return Configuration(settings, keys.load(settings.key_file))
    except SafekitError:
        return None


def lock_holder(path: Path) -> int:
    """The process that holds the daemon's lock; 0 when none does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return int(os.pread(descriptor, 32, 0).decode().strip() or "0")
    finally:
        os.close(descriptor)
    return 0


def _state(pid: int) -> str:
    if not pid:
        return ""
    try:
        return str(psutil.Process(pid).status())
    except psutil.Error:
        return ""


def _ended_in_order(history: Path) -> bool | None:
    """The daemon's last line says so; None where there is no history to ask."""
    with contextlib.suppress(sqlite3.Error, ValueError):
        address = f"file:{history}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=2)) as connection:
            row = connection.execute(_LAST_LINE).fetchone()
        return None if row is None else json.loads(row[0])["line"] == "safekitd ended"
    return None


def last_words(log: Path) -> str:
    """The last line since the last daemon came up that says that something is wrong."""
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    found = ""
    for line in lines:
        text, is_up = _understood(line)
        found = "" if is_up else text or found
    return found[:WORDS]


def _understood(line: str) -> tuple[str, bool]:
    """What a line says is wrong, and whether it says that a daemon came up."""
    try:
        entry = json.loads(line)
        event, level = str(entry["event"]), str(entry["level"])
        if entry.get("process", DAEMON) != DAEMON:
            return "", False
    except (ValueError, KeyError, TypeError):
        return (line.strip() if line.startswith("safekitd: ") or _ends_traceback(line) else ""), False
    reason = f": {entry['error']}" if entry.get("error") else ""
    return (f"{event}{reason}" if level in {"error", "critical"} else ""), event == "safekitd runs"


def _ends_traceback(line: str) -> bool:
    """`OSError: no space left`, at the margin."""
    name, colon, _ = line.partition(":")
    return bool(colon) and name.replace(".", "").isidentifier() and name.endswith(("Error", "Exception"))


def examine_without_daemon(settings: Settings, module: str = "") -> DaemonTrouble:
    return asyncio.run(read_aftermath(settings, module))
