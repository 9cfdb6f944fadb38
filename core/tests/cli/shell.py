"""Commands of a node that has a network and directories of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from safekit_sdk.testing import Namespace

SAFEKIT = Path(sys.prefix) / "bin" / "safekit"


@dataclass
class Place:
    place: Path
    namespace: Namespace

    def run(self, *words: str, code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        places = {f"SAFEKIT_{name.upper()}": str(self.place / name) for name in ("etc", "var", "run", "log")}
        done = subprocess.run(
            [*self.namespace.prefix, str(SAFEKIT), *words],
            env={**os.environ, **places, "SAFEKIT_REALTIME": "0", "COLUMNS": "200", "NO_COLOR": "1", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done


class Printing(Place):
    """A call returns all that the command printed."""

    def __call__(self, *words: str, code: int = 0) -> str:
        done = self.run(*words, code=code)
        return done.stdout + done.stderr
