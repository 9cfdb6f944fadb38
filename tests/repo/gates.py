"""Run the gates in order, fast ones first: one line each with its time; the first that fails ends the run with its
output. Most tests run three gates at a time. Up to three tests that failed there are tried again twice, alone; when
they pass both times the run goes on, and its end names them: each is a defect to look into. The last line counts all
tests: `N passed, N failed`."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from workspace import ROOT, packages

LOGS = ROOT / "build" / "gates"
PROGRAMS = ("docs/site", "tests", "tests/bench", "tests/demo", "tests/repo")
"""Folders with code that is no package's; it is typed as strictly."""
TOGETHER = frozenset({"repo", "docs", "unit"})
"""The groups whose gates share the machine, ABREAST at a time."""
ABREAST = 3
GATE_S = 1800.0
"""No gate may take longer; it is killed with all that it started."""
LONG = "long"
"""The group that runs only when it is asked for."""
PYTEST = ("-m", "pytest", "-q", "--continue-on-collection-errors", "-m")
COUNTS = re.compile(r"(\d+) (passed|failed|errors?)\b")
UNSTEADY = 3
"""So many tests of a whole run, and no more, may fail once and pass ALONE times by themselves."""
ALONE = 2
FAILED = re.compile(r"^(?:FAILED|ERROR) .*", re.MULTILINE)
SUMMARY = re.compile(r"^(=+ )?(\d+ (passed|failed|error).* in [0-9.]+s)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Gate:
    name: str
    group: str
    command: tuple[str, ...]
    """Arguments of this Python."""
    what_failed: bool = False
    """Only the tests that failed when it ran before, as pytest's cache has it."""

    @property
    def is_pytest(self) -> bool:
        return self.command[:2] == ("-m", "pytest")

    @property
    def log(self) -> Path:
        return LOGS / f"{re.sub('[^a-z]+', '-', self.name)}{'-alone' if self.what_failed else ''}.log"

    @property
    def cache(self) -> Path:
        return LOGS / re.sub("[^a-z]+", "-", self.name)

    @property
    def arguments(self) -> tuple[str, ...]:
        if not self.is_pytest:
            return self.command
        again = ("--last-failed", "--last-failed-no-failures=none") if self.what_failed else ()
        return (*self.command, "-o", f"cache_dir={self.cache}", *again)


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    output: str
    duration_s: float

    def count(self, *words: str) -> int:
        """Of pytest's last summary line."""
        lines = SUMMARY.findall(self.output)
        return sum(int(n) for n, word in COUNTS.findall(lines[-1][1]) if word in words) if lines else 0

    @property
    def failures(self) -> int:
        """At least one when the gate failed, whatever its output says."""
        return max(1, self.count("failed", "error", "errors")) if self.code else 0

    @property
    def told(self) -> list[str]:
        """pytest's line of each failure."""
        return FAILED.findall(self.output)


COMMANDS = "core/tests/cli"
"""With real daemons: most of the time of core's tests."""
APART = {
    "unit: apps": ("plugins/apps", "plugins/services/console", "plugins/resources/ocf"),
    "unit: rfs": ("plugins/resources/rfs",),
    "unit: witnesses": ("plugins/services/witness", "plugins/witnesses"),
}
"""Packages whose tests are a gate of their own, so that the gates of the group end at about the same time."""
BESIDE = {
    "nodes: data": ("witness", "fence", "rfs"),
    "nodes: mirror": ("mirror", "trouble", "doctor", "replay"),
    "nodes: farm": ("farm", "isolation", "cluster"),
    "nodes: module": ("configuration", "tutorial", "console"),
    "nodes: day two": ("apps_from_wheels", "checkers", "observed", "packaging", "rehearse", "upgrade"),
    "nodes: guests": ("kvm",),
}
"""Tests of real nodes that wait more than they work: they do as well beside other gates. What is left of tests/system,
whatever it is called, starves the machine or is new; it runs alone."""


def gates() -> Iterator[Gate]:
    sources = [f"{package.directory}/src" for package in packages()]
    sources += [str(path.relative_to(ROOT)) for place in PROGRAMS for path in sorted(ROOT.glob(f"{place}/*.py"))]
    yield Gate("ruff check", "lint", ("-m", "ruff", "check", "--no-cache", "."))
    yield Gate("ruff format", "lint", ("-m", "ruff", "format", "--no-cache", "--check", "."))
    yield Gate("mypy", "lint", ("-m", "mypy", *sources))
    yield Gate("imports", "lint", ("tests/repo/contracts.py",))
    yield Gate("repository", "repo", _pytest("tests/repo"))
    yield Gate("docs", "docs", ("-m", "mkdocs", "build", "--strict", "-f", "docs/site/mkdocs.yml"))
    beside = {name: list(_system_tests(names)) for name, names in BESIDE.items()}
    for name, paths in beside.items():
        if paths:
            yield Gate(name, "unit", (*PYTEST, "system and not long", *paths))
    yield Gate("unit: core", "unit", _pytest("core/tests", f"--ignore={COMMANDS}"))
    yield Gate("unit: commands", "unit", _pytest(COMMANDS))
    yield Gate("simulation", "unit", _pytest("tests/simulation"))
    others = [f"--ignore={place}" for places in APART.values() for place in places]
    yield Gate("unit: plugins", "unit", _pytest("plugins", *others))
    for name, places in APART.items():
        if present := [place for place in places if (ROOT / place).is_dir()]:
            yield Gate(name, "unit", _pytest(*present))
    yield Gate("unit: sdk", "unit", _pytest("sdk/tests"))
    elsewhere = [f"--ignore={path}" for paths in beside.values() for path in paths]
    system = ("tests/system", *elsewhere) if (ROOT / "tests/system").is_dir() else ()
    yield Gate("system", "system", (*PYTEST, "system and not long", "core", "sdk", "plugins", *system))
    yield Gate("long", LONG, (*PYTEST, "long", "core", "plugins", "tests/simulation", "tests/system"))


def _system_tests(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        path = f"tests/system/test_{name}.py"
        if (ROOT / path).is_file():
            yield path


def _pytest(*places: str) -> tuple[str, ...]:
    return (*PYTEST, "not system and not long", *places)


def run(gate: Gate) -> Result:
    LOGS.mkdir(parents=True, exist_ok=True)
    begun_s = time.monotonic()
    with gate.log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *gate.arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1", "NO_MKDOCS_2_WARNING": "1"},
        )
        code = _wait(process)
    return Result(code, gate.log.read_text(errors="replace"), time.monotonic() - begun_s)


def _wait(process: subprocess.Popen[bytes]) -> int:
    _running.add(process)
    try:
        return process.wait(GATE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _running.discard(process)


_running: set[subprocess.Popen[bytes]] = set()


def _end(*_: object) -> None:
    """Tests clean up after themselves when they are told to end; then nothing of them is left either way."""
    for number, patience_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 1.0)):
        for process in list(_running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        time.sleep(patience_s if _running else 0.0)
    os._exit(143)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    groups = "lint, repo, docs, unit, system, long; all but the last when none is named"
    parser.add_argument("groups", nargs="*", help=groups)
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first gate that fails")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    begun_s = time.monotonic()
    results: list[Result] = []
    unsteady: list[str] = []
    wanted = [gate for gate in gates() if gate.group in asked.groups or not (asked.groups or gate.group == LONG)]
    for together, members in itertools.groupby(wanted, key=lambda gate: gate.group in TOGETHER):
        done = _run_group(list(members), ABREAST if together else 1, keep_going=asked.keep_going)
        bad = [result for _, result in done if result.code]
        if bad and sum(result.failures for result in bad) <= UNSTEADY - len(unsteady):
            done = [(gate, _tried_alone(gate, result) if result.code else result) for gate, result in done]
            unsteady += [line for result in bad for line in result.told]
        results += [result for _, result in done]
        if any(result.code for result in results) and not asked.keep_going:
            break
    failed = sum(result.failures for result in results)
    print(f"{'all of it':<16}{time.monotonic() - begun_s:8.1f} s")
    if not failed:
        for line in unsteady:
            print(f"unsteady, passed {ALONE} times alone: {line.partition(' ')[2]}")
    print(f"{sum(result.count('passed') for result in results)} passed, {failed} failed")
    return 1 if failed else 0


def _run_group(members: list[Gate], abreast: int, *, keep_going: bool) -> list[tuple[Gate, Result]]:
    """Some at a time. After one that failed for good no other begins."""
    failed = threading.Event()

    def perform(gate: Gate) -> tuple[Gate, Result] | None:
        if failed.is_set():
            return None
        result = _run_and_tell(gate)
        if result.code and not keep_going and not _may_be_unsteady(gate, result):
            failed.set()
        return gate, result

    with ThreadPoolExecutor(abreast) as pool:
        return [done for done in pool.map(perform, members) if done is not None]


def _may_be_unsteady(gate: Gate, result: Result) -> bool:
    """Single tests, with a report of each: what hung, crashed or could not be collected is not tried again."""
    return gate.is_pytest and result.code == 1 and 0 < len(result.told) == result.failures <= UNSTEADY


def _tried_alone(gate: Gate, result: Result) -> Result:
    """What the gate comes to when its failures have been tried again, by themselves."""
    if not _may_be_unsteady(gate, result):
        return result
    noted = gate.cache / "v/cache/lastfailed"
    failures = noted.read_bytes()
    for _ in range(ALONE):
        noted.write_bytes(failures)  # who passes is taken out
        again = _run_and_tell(replace(gate, what_failed=True))
        if again.code or again.count("passed") != result.failures:
            return result
    return replace(result, code=0)


def _run_and_tell(gate: Gate) -> Result:
    try:
        result = run(gate)
    except subprocess.TimeoutExpired:
        result = Result(124, f"longer than {GATE_S:g} s; see {LOGS.relative_to(ROOT)}", GATE_S)
    tests = f"   {result.count('passed')} tests" if gate.is_pytest else ""
    name = f"{gate.name}, alone" if gate.what_failed else gate.name
    print(f"{name:<16}{result.duration_s:8.1f} s{tests}{'   FAILED' if result.code else ''}", flush=True)
    if result.code:
        print(f"\n{result.output}\n{gate.name} FAILED (exit code {result.code})\n")
    return result


if __name__ == "__main__":
    sys.exit(main())
