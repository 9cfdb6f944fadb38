"""Every command of docs/tutorial.md, typed in its order, with what the page says after it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from workspace import ROOT

pytestmark = pytest.mark.system
PAGE = ROOT / "docs" / "tutorial.md"
AFTER = {
    "safekit-lab exec node1 -- pkill apache2": ("node1", "PRIM  *Ready"),
    "safekit-lab exec node1 -- safekit module swap web": ("node1", "node2 *PRIM  *Ready"),
    "safekit-lab fault node2 crash": ("node1", "node1 *ALONE  *Ready"),
    "safekit-lab exec node2 -- safekit daemon start": ("node2", ""),
    "safekit-lab fault node1 crash": ("node2", "node2 *WAIT  *NotReady .*isolation: safety"),
    "safekit-lab exec node2 -- safekit module prim web": ("node2", "node2 *ALONE  *Ready"),
}
"""What `safekit status` on a node says soon after a command."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[object]:
    """Type a command; a lab of the same name that someone has is another one."""
    environment = {**os.environ, "SAFEKIT_LAB_DIR": str(tmp_path), "COLUMNS": "500"}
    environment["PATH"] = f"{sys.prefix}/bin:{os.environ['PATH']}"

    def typed(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            shlex.split(line), env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    yield typed
    typed("safekit-lab down")


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def test_the_tutorial_works_as_it_is_written(run: object) -> None:
    assert callable(run)
    token = ""
    for line in commands():
        done = run(line.replace("TOKEN", token))
        assert done.returncode == (3 if " plan " in line else 0), f"{line}: {done.stdout}{done.stderr}"
        if line.endswith("cluster token"):
            token = done.stdout.strip()
        if line in AFTER:
            until(run, *AFTER[line])
    assert set(AFTER) <= set(commands())


def until(run: object, node: str, shown: str) -> None:
    assert callable(run)
    deadline_s = time.monotonic() + 30
    while not re.search(shown, said := run(f"safekit-lab exec {node} -- safekit status").stdout):
        assert time.monotonic() < deadline_s, f"not {shown!r}: {said}"
        time.sleep(0.2)
