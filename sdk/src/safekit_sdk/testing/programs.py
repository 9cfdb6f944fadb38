"""Programs that a test writes, and what of them is left on the machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from safekit_sdk.procfs import all_pids, arguments


def write_program(directory: Path, text: str) -> Path:
    """An executable: a shell's, or Python's when it begins with `import`."""
    path = directory / f"check-{secrets.token_hex(4)}"
    first = f"#!{sys.executable} -I" if text.startswith("import") else "#!/bin/sh"
    path.write_text(f"{first}\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@contextlib.contextmanager
def a_sign() -> Iterator[str]:
    """An argument by which a test finds its processes again; whatever is left of them afterwards is killed."""
    sign = f"sk-sign-{secrets.token_hex(8)}"
    try:
        yield sign
    finally:
        for pid in with_argument(sign):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def with_argument(sign: str) -> list[int]:
    return [pid for pid in all_pids() if any(sign in argument for argument in arguments(pid))]
