"""Runs what imports plugins in a child process, bounded in time and memory, so that there is an answer in any case: one
that names the plugin which hangs, or which ended the process."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from safekit.bus.messages import error_body
from safekit.plugins.in_hand import tell_to
from safekit_sdk import PluginError

ANSWER_S: Final = 25.0
"""Less than the daemon waits."""
MEMORY_BYTES: Final = 4 << 30
"""Beyond it the child, and each program that a plugin asks, is refused memory: a MemoryError of the plugin in hand. A
machine that has less ends the child first."""
FIRST_TO_GO: Final = "500"
"""For the out-of-memory killer."""
MAX_ANSWER_BYTES: Final = 64 << 20

Answer = dict[str, Any]


def supervised(ask: Callable[[], Answer]) -> Answer:
    """What `ask` returns in a child, or an error that names the plugin that was in hand."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _perform(ask, writing)
    os.close(writing)
    try:
        said, is_late = _read(reading, time.monotonic() + ANSWER_S)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    label, answer = _parts(said)
    if answer is not None:
        return answer
    trouble = _trouble(label, f"does not end within {ANSWER_S:g} s" if is_late else _ended(status))
    return {"error": error_body(trouble).model_dump()}


def _perform(ask: Callable[[], Answer], writing: int) -> None:
    """Never returns: threads that a plugin has begun, and what it wants done at the end, are not waited for."""
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
        with os.fdopen(writing, "w") as pipe:
            tell_to(lambda label: print(json.dumps(label), file=pipe, flush=True))
            print(json.dumps(ask()), file=pipe, flush=True)
        code = 0
    finally:
        os._exit(code)


def _read(reading: int, until_s: float) -> tuple[bytearray, bool]:
    """All that the child says until its answer, its end, the time or the size; and whether it was the time."""
    said = bytearray()
    while len(said) <= MAX_ANSWER_BYTES:
        left_s = until_s - time.monotonic()
        if left_s <= 0 or not select.select([reading], [], [], left_s)[0]:
            return said, True
        part = os.read(reading, 1 << 16)
        said += part
        if not part or part.endswith(b"}\n"):
            break
    return said, False


def _parts(said: bytearray) -> tuple[str, Answer | None]:
    """The last plugin that was in hand, and the answer where there is one. Lines are labels, the answer an object."""
    label = ""
    for line in said.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            break
        if isinstance(told, dict):
            return label, told
        label = str(told)
    return label, None


def _ended(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"ends the process ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


def _trouble(label: str, how: str) -> PluginError:
    if not label:
        return PluginError(f"reading the configuration {how}", hint="`safekit plugins list` names what is installed")
    return PluginError(
        f"the {label} {how}", hint="uninstall that package, or ask its author for a version that does not"
    )
