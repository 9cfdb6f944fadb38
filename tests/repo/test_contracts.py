"""Each import that the architecture forbids breaks a contract."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import contracts
import pytest
from workspace import ROOT, packages

PLUGIN, OTHER = [package for package in packages() if package.is_plugin][:2]
FORBIDDEN = [
    ("core/src/safekit/engine", "safekit_sdk"),
    ("core/src/safekit/engine", "safekit.settings"),
    ("core/src/safekit/bus", "safekit.journal.facts"),
    ("core/src/safekit/journal", "safekit.config.module"),
    ("core/src/safekit/config", "safekit.daemon.runtime"),
    ("core/src/safekit/daemon", "safekit.host.pipeline"),
    ("core/src/safekit/daemon", "safekit.plugins.loading"),
    ("core/src/safekit/daemon", "safekit.config.compiler"),
    ("core/src/safekit/host", "safekit.daemon.runtime"),
    ("core/src/safekit/host", "safekit.cli.app"),
    ("core/src/safekit/simulation", "safekit.bus.messages"),
    ("core/src/safekit/simulation", "safekit_sdk"),
    ("core/src/safekit/daemon", "zmq"),
    ("core/src/safekit/config", "stevedore"),
    ("core/src/safekit/host", "pluggy"),
    ("sdk/src/safekit_sdk", "pluggy"),
    ("sdk/src/safekit_sdk", "safekit.engine"),
    ("sdk/src/safekit_sdk", PLUGIN.import_name),
    ("core/src/safekit/host", PLUGIN.import_name),
    (f"{PLUGIN.directory}/src/{PLUGIN.import_name}", "safekit.settings"),
    (f"{PLUGIN.directory}/src/{PLUGIN.import_name}", OTHER.import_name),
    (f"{PLUGIN.directory}/src/{PLUGIN.import_name}", "zmq"),
]
"""Where, and what must not be imported there. A contract says which of the two was meant."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all sources, to be spoilt."""
    root = tmp_path_factory.mktemp("sources")
    for package in packages():
        shutil.copytree(package.path / "src", root / package.directory / "src")
    return root


@pytest.fixture
def intruder(sources: Path) -> Iterator[Path]:
    yield sources
    for path in sources.rglob("intruder.py"):
        path.unlink()


@pytest.mark.parametrize(("where", "module"), FORBIDDEN)
def test_a_forbidden_import_breaks_a_contract(intruder: Path, where: str, module: str) -> None:
    (intruder / where / "intruder.py").write_text(f"def late() -> None:\n    import {module}  # noqa: F401\n")
    command = [sys.executable, contracts.__file__, str(intruder)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    intruding = where.partition("src/")[2].replace("/", ".") + ".intruder"
    assert done.returncode != 0
    assert f"{intruding} -> {module.split('.', maxsplit=1)[0]}" in done.stdout


def test_a_new_part_of_core_has_to_find_its_layer(intruder: Path) -> None:
    (intruder / "core/src/safekit/intruder.py").write_text("")
    command = [sys.executable, contracts.__file__, str(intruder)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "intruder" in done.stdout
