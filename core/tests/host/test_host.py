"""A host does what it is ordered, and whatever its plugins do becomes an event of the engine."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from safekit.engine import events
from safekit.engine.actions import Phase

START = (Phase.PRESTART, Phase.START_BOTH, Phase.START_PRIM, Phase.START_SEC)
STOP = (Phase.STOP_SEC, Phase.STOP_PRIM, Phase.STOP_BOTH, Phase.POSTSTOP)


def module(place: Path, how: str = "", more: str = "") -> str:
    mark = f"mark: {place}/mark"
    return f"kind: mirror\npipeline:\n  - thing: {{how: '{how}', {mark}, start_timeout: 1s, stop_timeout: 1s}}\n{more}"


async def test_it_starts_and_stops_and_tells_each_step(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(module(tmp_path))
    assert (await driver.run(*START)).ok
    assert driver.mark.exists()
    assert driver.hosts.steps("m")[0]["state"] == "started"
    assert "info starting it" in driver.said
    assert (await driver.run(*STOP)).ok
    assert not driver.mark.exists()


async def test_what_replicates_is_started_before_it_is_known_what_the_node_is_to_be(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(f"kind: mirror\npipeline:\n  - store: {{mark: {tmp_path}/mark}}\n")
    assert (await driver.run(Phase.PRESTART)).ok
    assert (await driver.next(events.ValueSet)).resource == "rfs.uptodate"
    assert driver.mark.exists()
    assert (await driver.run(Phase.START_BOTH, Phase.START_PRIM)).ok
    assert [line for line in driver.said if line.startswith("info store ")] == [
        "info store started",
        "info store promoted",
    ]
    assert (await driver.run(*STOP)).ok
    assert not driver.mark.exists()
    assert (await driver.run(Phase.PRESTART)).ok
    assert (await driver.next(events.ValueSet)).value == "up"  # its watch was turned off, and on again
    assert (await driver.run(*STOP)).ok


@pytest.mark.parametrize(
    ("how", "why"), [("raise", "boom"), ("leave", "3"), ("hang", "the start took longer than 1 s")]
)
async def test_a_start_that_fails_is_undone_and_told(drive: Any, tmp_path: Path, how: str, why: str) -> None:
    driver = drive()
    await driver.begin(module(tmp_path, how))
    finished = await driver.run(*START)
    assert (finished.ok, finished.failed, finished.stuck) == (False, "thing.it", False)
    assert why in finished.reason
    assert not driver.mark.exists()


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("exit", r"exit code 9 \(package safekit-badly 1.2\)"),
        ("block", r"was silent for .* s \(blocked by package safekit-badly 1.2, .*badly.py:\d+\)"),
        ("loop", r"was silent for .* s \(blocked by package safekit-badly 1.2, .*badly.py:\d+\)"),
        ("leak", r"over its limit of 200 MiB \(leaked by package safekit-badly 1.2\)"),
    ],
)
async def test_a_plugin_that_takes_its_host_along_is_told_and_cleaned_up_after(
    drive: Any, tmp_path: Path, how: str, why: str
) -> None:
    driver = drive(host_silent_s=3.0, host_memory_mib=200)
    await driver.begin(module(tmp_path, how))
    driver.order(*START)
    lost = await driver.next(events.HostLost)
    assert re.search(why, lost.reason)
    assert driver.mark.exists()
    await driver.begin(module(tmp_path))
    assert (await driver.run(Phase.CLEANUP, force=True)).ok
    assert not driver.mark.exists()


async def test_a_graceful_stop_that_fails_is_followed_by_a_forced_one(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(module(tmp_path, "stubborn"))
    await driver.run(*START)
    assert (await driver.run(*STOP)).ok
    assert not driver.mark.exists()
    assert any("by force: no" in line for line in driver.said)


async def test_what_cannot_be_stopped_is_stuck(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(module(tmp_path, "immortal"))
    await driver.run(*START)
    finished = await driver.run(*STOP)
    assert (finished.ok, finished.stuck, finished.reason) == (False, True, "never")


async def test_a_host_that_is_killed_is_an_event(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(module(tmp_path))
    os.kill(driver.hosts.pids()["m"], signal.SIGKILL)
    assert "SIGKILL" in (await driver.next(events.HostLost)).reason


async def test_a_host_whose_daemon_is_silent_stops_everything_and_ends(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(module(tmp_path))
    await driver.run(*START)
    for task in list(driver.hosts._tasks):
        if "_look_after" in repr(task):
            task.cancel()
    lost = await driver.next(events.HostLost)
    assert "exit code 0" in lost.reason
    assert not driver.mark.exists()


async def test_a_host_that_is_told_to_end_while_something_is_started_stops_it(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(module(tmp_path))
    await driver.run(*START)
    await driver.hosts.close()
    assert not driver.mark.exists()


# -- checkers


def checker(how: str) -> str:
    return f"checkers:\n  - looker: {{how: '{how}', interval: 100ms, timeout: 300ms, action: none}}\n"


@pytest.mark.parametrize(
    ("how", "why"), [("raise", "ValueError: blind"), ("leave", "SystemExit: 3"), ("hang", "took longer than 0.3 s")]
)
async def test_a_checker_that_fails_is_unknown_and_never_down(drive: Any, tmp_path: Path, how: str, why: str) -> None:
    driver = drive()
    await driver.begin(module(tmp_path, more=checker(how)))
    await driver.run(*START)
    verdict = await driver.verdict("looker.look", "unknown")
    assert why in verdict.reason
    assert any(why in line for line in driver.said)


async def test_evidence_without_end_is_cut(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(module(tmp_path, more=checker("large")))
    await driver.run(*START)
    verdict = await driver.verdict("looker.look", "down")
    assert len(verdict.reason) == 4000
    assert len(verdict.facts) == 32


async def test_a_checker_that_is_turned_off_says_so(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(module(tmp_path, more=checker("")))
    await driver.run(*START)
    await driver.verdict("looker.look", "up")
    driver.order(*STOP)
    await driver.verdict("looker.look", "init")


# -- a new configuration


async def test_only_what_changed_restarts(drive: Any, tmp_path: Path) -> None:
    def two(how: str) -> str:
        first = f"  - thing: {{name: first, mark: {tmp_path}/first}}\n"
        return f"kind: mirror\npipeline:\n{first}  - thing: {{name: second, how: '{how}', mark: {tmp_path}/second}}\n"

    driver = drive()
    await driver.begin(two(""))
    await driver.run(*START)
    driver.said.clear()
    await driver.load(two("stubborn"))
    driver.hosts.reload("m")
    assert (await driver.run(Phase.RECONFIGURE)).ok
    assert [line for line in driver.said if "first" in line] == []
    assert any(line.startswith("info thing.second: stopped") for line in driver.said)
    assert any(line.startswith("info thing.second: started") for line in driver.said)


async def test_what_stands_on_a_step_that_changes_is_stopped_before_it_and_started_after(
    drive: Any, tmp_path: Path
) -> None:
    def three(how: str) -> str:
        first, base, above = (
            f"  - {plugin}: {{name: {name}, how: '{how if name == 'base' else ''}', mark: {tmp_path}/{name}}}\n"
            for plugin, name in (("thing", "first"), ("store", "base"), ("thing", "above"))
        )
        return f"kind: mirror\npipeline:\n{first}{base}{above}"

    driver = drive()
    await driver.begin(three(""))
    await driver.run(*START)
    driver.said.clear()
    await driver.load(three("otherwise"))
    driver.hosts.reload("m")
    assert (await driver.run(Phase.RECONFIGURE)).ok
    found = [line.removeprefix("info ") for line in driver.said if line.endswith((": stopped", ": started"))]
    assert found == ["thing.above: stopped", "store.base: stopped", "store.base: started", "thing.above: started"]


def noted(tmp_path: Path, note: str, checker: str = "seen") -> str:
    step = f"pipeline:\n  - thing: {{name: it, note: '{note}', start_timeout: 9s, mark: {tmp_path}/mark}}\n"
    looker = f"checkers:\n  - looker: {{name: look, interval: 50ms}}\n  - looker: {{name: {checker}}}\n"
    return f"kind: mirror\n{step}{looker}"


async def test_what_may_change_while_it_is_started_stops_nothing(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(noted(tmp_path, "one"))
    await driver.run(*START)
    await driver.verdict("looker.look", "up")
    driver.said.clear()
    await driver.load(noted(tmp_path, "two", checker="other").replace("9s", "8s"))
    driver.hosts.reload("m")
    assert (await driver.run(Phase.RECONFIGURE)).ok
    assert driver.mark.read_text() == "one two"
    assert driver.said == []
    await driver.verdict("looker.other", "up")
    assert not [e for e in driver.events if getattr(e, "resource", "") == "looker.look"], "it went on without a word"


async def test_a_change_that_it_does_not_take_live_is_a_stop_and_a_start(drive: Any, tmp_path: Path) -> None:
    driver = drive()
    await driver.begin(noted(tmp_path, "one"))
    await driver.run(*START)
    await driver.verdict("looker.look", "up")
    await driver.load(noted(tmp_path, "refused"))
    driver.said.clear()
    driver.hosts.reload("m")
    assert (await driver.run(Phase.RECONFIGURE)).ok
    assert driver.said[0].startswith("warning thing.it: warning it is stopped and started, as")
    steps = [line.split()[2] for line in driver.said[1:] if line.startswith("info thing.it: ")]
    assert steps == ["stopping", "stopped", "starting", "started"]
    await driver.verdict("looker.look", "up")


# -- compiling


async def test_a_plugin_for_another_sdk_is_named_with_both_versions(drive: Any, tmp_path: Path) -> None:
    answer = await drive().compile("kind: light\ncheckers:\n  - older: {}\n")
    told = answer["error"]
    assert "'older' was written for SDK API 7; this node has 1" in told["message"]
    assert "safekit-badly" in f"{told}"


async def test_a_missing_plugin_names_the_package_and_the_line(drive: Any) -> None:
    told = (await drive().compile("kind: light\npipeline:\n  - sybase: {}\n"))["error"]
    assert "module.yaml:3:5" in f"{told}"
    assert "pip install safekit-" in f"{told}"


async def test_a_plugin_that_hangs_while_it_is_imported_is_told(
    drive: Any, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safekit.daemon.configuration.COMPILE_S", 2.0)
    (site / "hang").touch()
    with pytest.raises(Exception, match="a plugin hangs while it is imported"):
        await drive().compile("kind: light\ncheckers:\n  - looker: {}\n")


async def test_a_plugin_that_ends_the_process_is_told(drive: Any, site: Path) -> None:
    (site / "badly.py").write_text("import os; os._exit(3)\n")
    told = (await drive().compile("kind: light\ncheckers:\n  - looker: {}\n"))["error"]
    assert told["message"] == "the checker 'looker' (package safekit-badly 1.2) ends the process (exit code 3)"


async def test_what_a_plugin_prints_is_not_taken_for_the_result(drive: Any, site: Path) -> None:
    (site / "badly.py").write_text(
        "import os\nos.write(1, b'noise')\nprint('more')\n" + (site / "badly.py").read_text()
    )
    assert (await drive().compile("kind: light\ncheckers:\n  - looker: {}\n"))["error"] is None
