"""The runner of the gates tells the truth, and a bump reaches every place that carries the version."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import bump
import gates
import pytest
import requirements
import workspace
from packaging.specifiers import SpecifierSet
from workspace import ROOT, Package


@pytest.mark.parametrize(
    ("output", "passed", "failed"),
    [
        ("....\n4 passed in 0.12s\n", 4, 0),
        ("F.\n=== short test summary info ===\nFAILED a::b\n1 failed, 3 passed, 2 deselected in 1.00s\n", 3, 1),
        ("E\n1 failed, 2 passed, 3 errors in 61.20s (0:01:01)\n", 2, 4),
        ("no tests ran in 0.01s\n", 0, 1),
        ("Found 3 errors.\n", 0, 1),
    ],
)
def test_results_are_counted(output: str, passed: int, failed: int) -> None:
    result = gates.Result(1 if failed else 0, output, 1.0)
    assert (result.count("passed"), result.failures) == (passed, failed)


def test_a_gate_that_fails_fails_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = gates.Gate("good", "lint", ("-c", "print('fine')"))
    bad = gates.Gate("bad", "lint", ("-c", "raise SystemExit('it is wrong')"))
    monkeypatch.setattr(gates, "gates", lambda: iter([good, bad, good]))
    monkeypatch.setattr(sys, "argv", ["gates.py"])
    assert gates.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith((" s", "FAILED"))] == ["good", "bad", "all"]
    assert "it is wrong" in lines
    assert lines[-1] == "0 passed, 1 failed"


ONCE = """
from pathlib import Path
def test_good(): pass
def test_{name}():
    seen = Path({seen!r})
    tries = len(seen.read_text()) if seen.exists() else 0
    seen.write_text("x" * (tries + 1))
    assert tries in {passes}
"""


@pytest.mark.parametrize(
    ("passes", "gates_of_it", "code"),
    [({1, 2}, 1, 0), ({1}, 1, 1), ({2}, 1, 1), ({1, 2}, 4, 1)],
    ids=["passes alone", "not the second time", "not alone", "too many"],
)
def test_a_test_that_fails_beside_others_has_to_pass_twice_alone_and_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    passes: set[int],
    gates_of_it: int,
    code: int,
) -> None:
    made = []
    for number in range(gates_of_it):
        file = tmp_path / f"test_it_{number}.py"
        file.write_text(ONCE.format(name=f"a_{number}", seen=str(tmp_path / f"seen{number}"), passes=passes))
        letter = "abcd"[number]
        made.append(gates.Gate(f"gate {letter}", "unit", ("-m", "pytest", "-q", "-c", os.devnull, str(file))))
    monkeypatch.setattr(gates, "LOGS", tmp_path / "gates")
    monkeypatch.setattr(gates, "gates", lambda: iter(made))
    monkeypatch.setattr(sys, "argv", ["gates.py"])
    assert gates.main() == code
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"{gates_of_it} passed, {gates_of_it if code else 0} failed"
    assert ("unsteady, passed 2 times alone: " in out) == (code == 0)
    assert "assert 0 in {1" in out or "assert 0 in {2" in out


def test_a_gate_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "GATE_S", 0.2)
    sleeps = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with pytest.raises(subprocess.TimeoutExpired):
        gates.run(gates.Gate("hangs", "lint", ("-c", sleeps)))


def test_every_folder_with_tests_is_run() -> None:
    words = {word for gate in gates.gates() if gate.is_pytest for word in gate.command}
    examples = ROOT / "docs" / "examples"  # no packages of ours; tests/system/test_packaging.py runs their tests
    for path in workspace.tracked():
        if path.name.startswith("test_") and path.suffix == ".py" and examples not in path.parents:
            folders = [parent for parent in path.parents if ROOT in parent.parents]
            assert any(str(folder.relative_to(ROOT)) in words for folder in folders), path


def test_what_is_pinned_is_what_is_asked_for() -> None:
    pins = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    asked = {workspace.distribution(one) for one in requirements.requirements()}
    assert asked - pins == set(), "make constraints"


def test_what_is_pinned_runs_on_the_python_of_debian_12() -> None:
    pins = re.findall(r"^([a-z0-9-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    wanted = {name: metadata.metadata(name)["Requires-Python"] or "" for name in pins}
    assert {name: python for name, python in wanted.items() if "3.11.2" not in SpecifierSet(python)} == {}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a bump reads and writes, in a place where it may."""
    inits = (str(path.relative_to(ROOT)) for path in ROOT.glob("core/src/*/__init__.py"))
    for name in ("CHANGELOG.md", *inits, *(f"{directory}/pyproject.toml" for directory in workspace.directories())):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for module in (workspace, bump):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(bump, "packages", read_packages)
    return tmp_path


def read_packages() -> list[Package]:
    return [
        Package(directory, workspace.read_toml(workspace.ROOT / directory / "pyproject.toml"))
        for directory in workspace.directories()
    ]


@pytest.mark.parametrize("version", ["7.8.9", "1.0.0rc1"])
def test_a_bump_changes_every_version_and_nothing_else(copy: Path, version: str) -> None:
    before = read_packages()
    bump.bump(version, datetime.date(2030, 1, 2))
    for old, new in zip(before, read_packages(), strict=True):
        assert new.manifest["project"]["version"] == version
        assert all(one.endswith(f"=={version}") for one in new.own_requirements)
        assert not_own(new) == not_own(old)
        assert (new.name, new.entry_points) == (old.name, old.entry_points)
    assert f'__version__ = "{version}"' in (copy / "core/src/safekit/__init__.py").read_text()


def not_own(package: Package) -> list[str]:
    return [one for one in package.requirements if not workspace.is_own(one)]


def test_a_bump_closes_once_what_was_unreleased(copy: Path) -> None:
    bump.bump("7.8.9", datetime.date(2030, 1, 2))
    after = (copy / "CHANGELOG.md").read_text()
    assert "## Unreleased\n\n## 7.8.9 (2030-01-02)\n" in after
    assert bump.bump("7.8.9", datetime.date(2030, 1, 3)) == []
    assert (copy / "CHANGELOG.md").read_text() == after


@pytest.mark.parametrize("version", ["", "7", "7.8", "v7.8.9", "7.8.9-1", "7.8.9 "])
def test_what_is_no_version_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bump.py", version])
    with pytest.raises(SystemExit, match="is not a version"):
        bump.main()
