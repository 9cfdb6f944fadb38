"""What is committed: the house as the architecture draws it, and nothing of a machine, a registry or a build."""

from __future__ import annotations

import re
from pathlib import Path

from workspace import ROOT, tracked

TOP = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "constraints.txt",
    "core",
    "docs",
    "packaging",
    "plugins",
    "pyproject.toml",
    "sdk",
    "tests",
}
HOSTS = re.compile(r"\b(pypi|pythonhosted|npmjs|debian|golang|crates)\.(org|io)\b")
"""Where packages come from is the machine's setting, and may be a mirror."""
MACHINE = re.compile(r"(?<![\w}.*$-])/(?:work|root|home/\w+)/")
"""Paths of the machine that something was written on."""
BUILT = re.compile(r".*\.(pyc|so|o|whl|lock|tar|gz|zip|log|sqlite|db)|.*\.egg-info|dist|build|__pycache__|node_modules")


def texts() -> list[tuple[Path, str]]:
    return [(path.relative_to(ROOT), path.read_text(errors="replace")) for path in tracked()]


def lines(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_top_of_the_repository_is_as_the_architecture_draws_it() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} == TOP


def test_no_registry_is_named() -> None:
    assert lines(HOSTS) == []


def test_no_path_of_a_machine_is_named() -> None:
    assert lines(MACHINE) == []


def test_the_patterns_see_what_they_are_for() -> None:
    assert HOSTS.search("https://" + ".".join(("files", "pythonhosted", "org")) + "/x")
    assert MACHINE.search("see " + "/work" + "/main/README.md")
    assert not MACHINE.search("overlay/work/upper")


def test_nothing_that_was_built_is_committed() -> None:
    assert [str(path) for path in tracked() if any(map(BUILT.fullmatch, path.relative_to(ROOT).parts))] == []


def test_the_pins_name_no_index_and_hash_everything() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    pins = re.split(r"\n(?=\S)", text.strip())
    assert [pin for pin in pins if not re.match(r"[a-z0-9-]+==\S+ \\\n    --hash=sha256:", pin)] == []


def test_the_licence_is_apache_2() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence


def test_the_changelog_has_a_place_for_what_is_not_released() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
