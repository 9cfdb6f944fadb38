"""A command of the terminal in a node: same stdin, stdout and terminal, its exit code passed on."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from . import inside
from .error import LabError
from .inside import Command
from .node import Node

_NOT_FOUND = 127
_SIGNALLED = 128
_DETACH_S = 10.0


def run(node: Node, argv: Sequence[str], cwd: str) -> int:
    """Return the exit code as a shell would: 128 + N for signal N, 127 for a command that is not there."""
    try:
        process = inside.start(node.folder, node.name, Command(argv, cwd=cwd, own_session=False))
    except (FileNotFoundError, PermissionError) as error:
        return _complain(node.name, error)
    _leave_signals_to(process)
    code = process.wait()
    _take_terminal_back()
    return code if code >= 0 else _SIGNALLED - code


def leave_behind(node: Node, argv: Sequence[str], cwd: str) -> Path:
    """Start a command as a child of the node's own init; return the host's file that gets its output."""
    path = node.new_output()
    with path.open("wb") as file:
        command = Command(
            ["setsid", "--fork", "--", *argv], cwd=cwd, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
        if inside.start(node.folder, node.name, command).wait(_DETACH_S) != 0:
            raise LabError(f"{node.name}: could not start {argv[0]}; see {path}")
    return path


def _complain(node: str, error: OSError) -> int:
    print(f"{node}: {error.filename}: {error.strerror}", file=sys.stderr)
    return _NOT_FOUND


def _leave_signals_to(process: "subprocess.Popen[bytes]") -> None:
    """The terminal sends its signals to the command as well; a SIGTERM or SIGHUP for us is handed on."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: process.send_signal(received))


def _take_terminal_back() -> None:
    """An interactive shell in the node made itself the terminal's foreground."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with suppress(OSError):  # no terminal, or not the one that controls this session
        os.tcsetpgrp(0, os.getpgrp())
