"""The form of the code: sizes, names, comments, no shell, no test that does not run; the engine is pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rules
from workspace import ROOT, Package, packages, tracked

PYTHON = tuple(path for path in tracked() if path.suffix == ".py")
ENGINE = packages()[0].source / "engine"


def findings(rule: Callable[[str], Iterator[str]], paths: tuple[Path, ...] = PYTHON) -> list[str]:
    """`file:line: what is wrong`, over all of these files."""
    return [f"{path.relative_to(ROOT)}:{found}" for path in paths for found in rule(path.read_text())]


def test_there_is_code() -> None:
    assert len(PYTHON) > 100


def test_no_file_is_long() -> None:
    assert findings(rules.long_file) == []


def test_no_function_is_long() -> None:
    assert findings(rules.long_functions) == []


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.directory)
def test_most_functions_are_short(package: Package) -> None:
    sources = (path.read_text() for path in PYTHON if path.is_relative_to(package.source))
    lengths = [lines for source in sources for _, _, lines in rules.body_lines(source)]
    assert sum(lines > rules.MAX_P90_LINES for lines in lengths) <= 0.1 * len(lengths)


def test_no_module_has_a_name_that_says_nothing() -> None:
    relative = (path.relative_to(ROOT) for path in PYTHON)
    assert [str(path) for path in relative if any(map(rules.VAGUE.fullmatch, (*path.parts[:-1], path.stem)))] == []


def test_no_comment_is_a_banner() -> None:
    assert findings(rules.banners) == []


def test_no_shell_is_run() -> None:
    assert findings(rules.shells) == []


def test_no_test_is_skipped() -> None:
    assert findings(rules.skips) == []


def test_the_engine_is_pure() -> None:
    engine = tuple(path for path in PYTHON if path.is_relative_to(ENGINE))
    assert len(engine) > 10
    assert findings(rules.impurities, engine) == []
