"""The module checker: whatever is known of the nodes, and a safekitd that is gone or silent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_module import ModuleChecker, ModuleConfig
from safekit_checker_module.judging import judge

from safekit_sdk import Health, ModuleSeen, PeerError, Verdict
from safekit_sdk.testing.context import a_context

SILENT = ModuleSeen(heard=False)


def node(state: str, epoch: int = 1) -> ModuleSeen:
    """What is known of it on a node; `state` as it is shown, or empty when the node does not have the module."""
    before, _, readiness = state.partition("/")
    return ModuleSeen(state=before, readiness=readiness, epoch=epoch)


def judged(answers: dict[str, ModuleSeen], **settings: Any) -> Verdict:
    return judge(ModuleConfig(module="db", **settings), "n1", answers)


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
        ({"n1": SILENT, "n2": node("PRIM/Ready")}, "any", Health.UP, "n2"),
        ({"n1": node("WAIT/NotReady"), "n2": node("STOP/NotReady")}, "any", Health.DOWN, "STOP/NotReady on n2, not"),
        ({"n1": node("WAIT/NotReady"), "n2": SILENT}, "any", Health.UNKNOWN, "n2 is silent"),
        ({"n1": node(""), "n2": node("")}, "any", Health.UNKNOWN, "no module 'db' on n1, n2"),
        ({"n1": node(""), "n2": node("STOP/NotReady")}, "any", Health.DOWN, "STOP/NotReady on n2"),
        ({"n1": node("PRIM/Ready"), "n2": node("WAIT/NotReady")}, "n2", Health.DOWN, "on n2"),
        ({"n1": node("PRIM/Ready"), "n2": SILENT}, "n2", Health.UNKNOWN, "n2 is silent"),
        ({"n1": SILENT, "n2": node("PRIM/Ready")}, "this", Health.UNKNOWN, "n1 is silent"),
        ({"n1": node("PRIM/Ready")}, "n9", Health.UNKNOWN, "no node 'n9' in this cluster; there are: n1"),
        ({}, "any", Health.UNKNOWN, "no module 'db'"),
    ],
)
def test_a_node_that_cannot_be_asked_is_unknown_unless_another_has_it(
    answers: dict[str, ModuleSeen], on: str, health: Health, what: str
) -> None:
    verdict = judged(answers, on=on)
    assert verdict.health is health
    assert what in verdict.reason


class Cluster:
    """Stands for safekitd: knows what a test wants."""

    def __init__(self, place: Path) -> None:
        self.seen: dict[str, ModuleSeen] = {}
        self.trouble: Exception | None = None
        self.silent = False
        self.context = a_context(place, module_states=self._told)

    async def _told(self, module: str) -> Mapping[str, ModuleSeen]:
        assert module == "db"
        if self.silent:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble
        return self.seen

    def says(self, **seen: ModuleSeen) -> None:
        self.seen = seen

    def checker(self, **settings: Any) -> ModuleChecker:
        return ModuleChecker(ModuleConfig(**{"module": "db", **settings}), self.context)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


async def test_a_service_that_was_started_anew_is_down_for_one_check(cluster: Cluster) -> None:
    checker = cluster.checker(restarted=True)
    seen = []
    for epoch in (3, 3, 4, 4, 7):
        cluster.says(node1=node("PRIM/Ready", epoch=epoch))
        seen.append(await checker.check())
    assert [one.health.value for one in seen] == ["up", "up", "down", "up", "down"]
    assert seen[2].reason == "module db was started anew (epoch 4, before it was 3)"


async def test_what_happened_while_nobody_looked_is_past(cluster: Cluster) -> None:
    """As while this module was stopped: checks further apart than twice interval and timeout are not compared."""
    hasty = cluster.checker(restarted=True, interval="10ms", timeout="500ms")
    patient = cluster.checker(restarted=True)
    cluster.says(node1=node("PRIM/Ready", epoch=3))
    for checker in (hasty, patient):
        assert (await checker.check()).health is Health.UP
    await asyncio.sleep(1.1)
    cluster.says(node1=node("PRIM/Ready", epoch=4))
    assert (await hasty.check()).health is Health.UP
    assert (await patient.check()).health is Health.DOWN


async def test_a_daemon_that_is_gone_or_says_nothing_is_unknown(cluster: Cluster) -> None:
    for trouble in (PeerError("no safekitd runs on this node"), TimeoutError("the daemon did not answer")):
        cluster.trouble = trouble
        verdict = await cluster.checker().check()
        assert verdict.health is Health.UNKNOWN
        assert str(trouble) in verdict.reason
    cluster.silent = True
    verdict = await cluster.checker(timeout="200ms").check()
    assert (verdict.health, "within 0.18 s" in verdict.reason) == (Health.UNKNOWN, True)


async def test_a_module_cannot_wait_for_itself(cluster: Cluster) -> None:
    own = cluster.context.module
    for on in ("this", "node1"):
        assert "cannot wait for itself" in (await cluster.checker(module=own, on=on).check()).reason


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "module"),
        ({"module": "a b"}, "pattern"),
        ({"module": "db", "states": []}, "at least 1"),
        ({"module": "db", "states": ["RUNNING"]}, "'STOP'"),
        ({"module": "db", "states": ["STOP"]}, "ready: false"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        ModuleConfig.model_validate(settings)


@pytest.mark.parametrize(("on", "ident"), [("this", "db"), ("any", "db.any"), ("n2", "db.n2")])
def test_an_identifier_comes_from_the_module_and_the_place(on: str, ident: str) -> None:
    assert ModuleChecker.ident(ModuleConfig(module="db", on=on)) == ident
