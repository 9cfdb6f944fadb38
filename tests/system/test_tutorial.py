"""Every command of docs/tutorial.md, typed in its order, with what the page says after it; and of the how-to for a
checker of one's own."""

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
OWN_CHECKER = ROOT / "docs" / "how-to" / "write-a-plugin.md"
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


def blocks(page: Path) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks(PAGE) for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


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


def test_a_checker_of_ones_own_is_made_as_it_is_written_and_causes_a_failover(
    run: object, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert callable(run)
    shell = Shell(tmp_path_factory.mktemp("work"), own_python(tmp_path_factory.mktemp("python")), tmp_path)
    for block in blocks(OWN_CHECKER):
        said = shell(block)
        if "pytest" in block:
            assert " passed" in said
        if "module start app" in block:
            until(run, "node1", "node1 *PRIM  *Ready")
            until(run, "node1", "node2 *SECOND  *Ready")
        if "rm /run/app.beat" in block:
            until(run, "node1", "node2 *PRIM  *Ready")
        if "safekit why" in block:
            assert "/run/app.beat does not exist" in said


def own_python(place: Path) -> Path:
    """A virtual environment of its author's, on top of this one: a package is installed without changing this one."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=60)
    (site,) = place.glob("lib/*/site-packages")
    below = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
    return place / "bin"


class Shell:
    """One that types blocks of commands and stays in the directory that it went to; pip has no network here."""

    def __init__(self, place: Path, python: Path, lab: Path) -> None:
        self._place = place
        self._pwd = place / ".pwd"
        self._environment = {**os.environ, "PATH": f"{python}:{sys.prefix}/bin:{os.environ['PATH']}", "COLUMNS": "500"}
        self._environment |= {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "SAFEKIT_LAB_DIR": str(lab)}

    def __call__(self, block: str) -> str:
        done = subprocess.run(
            ["/bin/bash", "-euc", f"{block}\npwd > {shlex.quote(str(self._pwd))}"],
            cwd=self._place,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"
        self._place = Path(self._pwd.read_text().strip())
        return done.stdout


def until(run: object, node: str, shown: str) -> None:
    assert callable(run)
    deadline_s = time.monotonic() + 30
    while not re.search(shown, said := run(f"safekit-lab exec {node} -- safekit status").stdout):
        assert time.monotonic() < deadline_s, f"not {shown!r}: {said}"
        time.sleep(0.2)
