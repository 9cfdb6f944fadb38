"""The criteria held against one package, and the tier that it reaches."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from safekit.plugins.quality.criteria import CRITERIA, Criterion, Tier
from safekit.plugins.quality.subject import Subject

RUN_S: Final = 600.0
MAX_TROUBLES: Final = 20
SOURCE: Final = "its tests are not at hand: --source names the folder that it is built from"


class Outcome(StrEnum):
    MET = "met"
    MISSED = "missed"
    UNSEEN = "unseen"
    """It could not be judged here, and counts as missed."""


@dataclass(frozen=True, slots=True)
class Judgement:
    criterion: Criterion
    outcome: Outcome
    troubles: tuple[str, ...] = ()


def judge(subject: Subject, *, run: bool) -> list[Judgement]:
    """`run`: also run its tests and mypy, which takes as long as they take, RUN_S at most."""
    found = [_judge(criterion, subject) for criterion in CRITERIA]
    return [*found, *(_ran(criterion, subject, argv, module) for criterion, argv, module in RUNS)] if run else found


def reached(judgements: Iterable[Judgement]) -> Tier | None:
    """The highest tier of which nothing is missing, nor of those before it."""
    missing = {one.criterion.tier for one in judgements if one.outcome is not Outcome.MET}
    best = None
    for tier in Tier:
        if tier in missing:
            break
        best = tier
    return best


def _judge(criterion: Criterion, subject: Subject) -> Judgement:
    if criterion.needs_tests and not subject.has_tests:
        return Judgement(criterion, Outcome.UNSEEN, (SOURCE,))
    troubles = tuple(_first(criterion.troubles(subject)))
    return Judgement(criterion, Outcome.MISSED if troubles else Outcome.MET, troubles)


def _first(troubles: Iterable[str]) -> Iterator[str]:
    for _, trouble in zip(range(MAX_TROUBLES), troubles, strict=False):
        yield trouble[:500]


def _nothing(_subject: Subject) -> Iterable[str]:
    return ()


RUNS: Final = (
    (
        Criterion(Tier.BRONZE, "tests", "its own tests pass", _nothing, needs_tests=True),
        ("pytest", "-q", "tests"),
        "pytest",
    ),
    (
        Criterion(Tier.SILVER, "mypy", "mypy --strict finds nothing", _nothing, needs_tests=True),
        ("mypy", "--strict", "--no-incremental", "src"),
        "mypy",
    ),
)


def _ran(criterion: Criterion, subject: Subject, argv: tuple[str, ...], module: str) -> Judgement:
    if subject.folder is None or not subject.has_tests:
        return Judgement(criterion, Outcome.UNSEEN, (SOURCE,))
    if importlib.util.find_spec(module) is None:
        return Judgement(criterion, Outcome.UNSEEN, (f"{module} is not installed: pip install {module}",))
    trouble = _run([sys.executable, "-m", *argv], subject.folder)
    return Judgement(criterion, Outcome.MISSED if trouble else Outcome.MET, (trouble,) if trouble else ())


def _run(argv: list[str], folder: Path) -> str:
    """The last lines of what it said, when it failed."""
    try:
        done = subprocess.run(
            argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {RUN_S:g} s"
    return "" if done.returncode == 0 else "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
