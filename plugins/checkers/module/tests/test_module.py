"""The module checker: every answer of the nodes, and a command that fails, hangs or prints something else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_module import ModuleChecker, ModuleConfig
from safekit_checker_module.answers import NodeAnswer, read_answers
from safekit_checker_module.judging import judge

from safekit_sdk import Health, Verdict
from safekit_sdk.procfs import process_stat
from safekit_sdk.testing.context import a_context

UNREACHABLE = {"error": {"kind": "PeerError", "message": "no answer within 3 s", "hint": "", "where": ""}}


def node(state: str, module: str = "db", epoch: int = 1) -> dict[str, Any]:
    """A node's answer; `state` as it is shown, or empty when it does not have the module."""
    before, _, readiness = state.partition("/")
    found = [{"name": module, "state": before, "readiness": readiness, "epoch": epoch, "values": []}] if state else []
    return {"result": {"node": "?", "alarms": [], "modules": found}}


def judged(answers: dict[str, Any], **settings: Any) -> Verdict:
    return judge(ModuleConfig(module="db", **settings), "n1", read_answers(json.dumps(answers)))


@pytest.mark.parametrize(
    ("state", "settings", "health"),
    [
        ("PRIM/Ready", {}, Health.UP),
        ("ALONE/Ready", {}, Health.UP),
        ("UP/Ready", {}, Health.UP),
        ("SECOND/Ready", {}, Health.DOWN),
        ("PRIM/Transient", {}, Health.DOWN),
        ("PRIM/Transient", {"ready": False}, Health.UP),
        ("STOP/NotReady", {}, Health.DOWN),
        ("SECOND/Ready", {"states": ["SECOND"]}, Health.UP),
        ("", {}, Health.UNKNOWN),
    ],
)
def test_the_state_on_this_node_is_the_verdict(state: str, settings: dict[str, Any], health: Health) -> None:
    verdict = judged({"n1": node(state), "n2": node("PRIM/Ready")}, **settings)
    assert verdict.health is health
    assert "db" in verdict.reason


@pytest.mark.parametrize(
    ("answers", "on", "health", "what"),
    [
        ({"n1": node("SECOND/Ready"), "n2": node("PRIM/Ready")}, "any", Health.UP, "PRIM/Ready on n2"),
        ({"n1": UNREACHABLE, "n2": node("PRIM/Ready")}, "any", Health.UP, "n2"),
        ({"n1": node("WAIT/NotReady"), "n2": node("STOP/NotReady")}, "any", Health.DOWN, "STOP/NotReady on n2, not"),
        ({"n1": node("WAIT/NotReady"), "n2": UNREACHABLE}, "any", Health.UNKNOWN, "n2: no answer within 3 s"),
        ({"n1": node(""), "n2": node("")}, "any", Health.UNKNOWN, "no module 'db' on n1, n2"),
        ({"n1": node(""), "n2": node("STOP/NotReady")}, "any", Health.DOWN, "STOP/NotReady on n2"),
        ({"n1": node("PRIM/Ready"), "n2": node("WAIT/NotReady")}, "n2", Health.DOWN, "on n2"),
        ({"n1": node("PRIM/Ready"), "n2": UNREACHABLE}, "n2", Health.UNKNOWN, "n2: no answer"),
        ({"n1": UNREACHABLE, "n2": node("PRIM/Ready")}, "this", Health.UNKNOWN, "n1: no answer"),
        ({"n1": node("PRIM/Ready")}, "n9", Health.UNKNOWN, "no node 'n9' in this cluster; there are: n1"),
        ({}, "any", Health.UNKNOWN, "no module 'db'"),
    ],
)
def test_a_node_that_cannot_be_asked_is_unknown_unless_another_has_it(
    answers: dict[str, Any], on: str, health: Health, what: str
) -> None:
    verdict = judged(answers, on=on)
    assert verdict.health is health
    assert what in verdict.reason


def test_a_node_that_says_neither_has_trouble() -> None:
    assert NodeAnswer().trouble


class Command:
    """Stands for `safekit`: prints what a test wants."""

    def __init__(self, place: Path) -> None:
        self.path = place / "safekit"
        self.write("exit 0")
        self.context = a_context(place)

    def write(self, text: str) -> None:
        self.path.write_text(f"#!/bin/sh\n{text}\n")
        self.path.chmod(0o755)

    def says(self, **answers: Any) -> None:
        self.write(f"cat <<'END'\n{json.dumps(answers)}\nEND")

    def checker(self, **settings: Any) -> ModuleChecker:
        return ModuleChecker(ModuleConfig(**{"module": "db", "program": self.path, **settings}), self.context)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


async def test_a_service_that_was_started_anew_is_down_for_one_check(command: Command) -> None:
    checker = command.checker(restarted=True)
    seen = []
    for epoch in (3, 3, 4, 4, 7):
        command.says(node1=node("PRIM/Ready", epoch=epoch))
        seen.append(await checker.check())
    assert [one.health.value for one in seen] == ["up", "up", "down", "up", "down"]
    assert seen[2].reason == "module db was started anew (epoch 4, before it was 3)"


async def test_what_happened_while_nobody_looked_is_past(command: Command) -> None:
    """As while this module was stopped: checks further apart than twice interval and timeout are not compared."""
    hasty = command.checker(restarted=True, interval="10ms", timeout="500ms")
    patient = command.checker(restarted=True)
    command.says(node1=node("PRIM/Ready", epoch=3))
    for checker in (hasty, patient):
        assert (await checker.check()).health is Health.UP
    await asyncio.sleep(1.1)
    command.says(node1=node("PRIM/Ready", epoch=4))
    assert (await hasty.check()).health is Health.UP
    assert (await patient.check()).health is Health.DOWN


async def test_a_command_that_fails_or_prints_something_else_is_unknown(command: Command) -> None:
    for text, what in (
        ("echo 'safekit: no safekitd runs on this node'; exit 5", "no safekitd runs"),
        ("echo '<html>'", "printed something else: '<html>"),
        ('echo \'{"n1": {"result": {"modules": 7}}}\'', "something else"),
        ("kill -9 $$", "ended by signal 9"),
    ):
        command.write(text)
        verdict = await command.checker().check()
        assert verdict.health is Health.UNKNOWN
        assert what in verdict.reason
    command.path.unlink()
    assert "cannot run" in (await command.checker().check()).reason
    assert len(ModuleChecker.preflight(command.checker().config, "mirror")) == 1


async def test_a_command_that_hangs_is_killed_and_unknown(command: Command, tmp_path: Path) -> None:
    command.write(f"echo $$ > {tmp_path}/pid\nexec sleep 600")
    verdict = await command.checker(timeout="400ms").check()
    assert verdict.health is Health.UNKNOWN
    assert "no end within" in verdict.reason
    assert process_stat(int((tmp_path / "pid").read_text())) is None


async def test_a_module_cannot_wait_for_itself(command: Command) -> None:
    own = command.context.module
    for on in ("this", "node1"):
        assert "cannot wait for itself" in (await command.checker(module=own, on=on).check()).reason


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "module"),
        ({"module": "a b"}, "pattern"),
        ({"module": "db", "states": []}, "at least 1"),
        ({"module": "db", "states": ["RUNNING"]}, "'STOP'"),
        ({"module": "db", "states": ["STOP"]}, "ready: false"),
        ({"module": "db", "program": "safekit"}, "absolute"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        ModuleConfig.model_validate(settings)


@pytest.mark.parametrize(("on", "ident"), [("this", "db"), ("any", "db.any"), ("n2", "db.n2")])
def test_an_identifier_comes_from_the_module_and_the_place(on: str, ident: str) -> None:
    assert ModuleChecker.ident(ModuleConfig(module="db", on=on)) == ident
