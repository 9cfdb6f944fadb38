"""A stop on several nodes: in which order they are told, and what becomes of the primary when another goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from safekit.daemon.operations import FanArgs
from safekit.daemon.stopping import StopArgs, Stopping
from safekit_sdk import RefusedError


class Nodes:
    """What nodes say of the module `db`. A secondary that is told to stop does so two looks later, unless it hangs."""

    def __init__(self, **states: str) -> None:
        self.states = states
        self.desired = dict.fromkeys(states, True)
        self.silent: set[str] = set()
        self.hanging: set[str] = set()
        self.told: list[tuple[str, str]] = []
        """Who was told, and the state of the others then."""
        self._looks_left: dict[str, int] = {}

    async def fan(self, args: FanArgs) -> dict[str, Any]:
        nodes = [*self.states, *self.silent] if "*" in args.nodes else args.nodes
        return {node: self._answer(node, args) for node in nodes}

    def _answer(self, node: str, args: FanArgs) -> dict[str, Any]:
        if node in self.silent:
            return {"error": {"code": "peer", "message": f"node '{node}' does not answer"}}
        if args.op == "command":
            others = " ".join(state for name, state in self.states.items() if name != node)
            self.told.append((node, others))
            self.desired[node] = False
            self._looks_left[node] = 2
            return {"result": {"decisions": [f"stop asked for by {args.by}"]}}
        return {"result": {"modules": [self._module(node)]}}

    def _module(self, node: str) -> dict[str, Any]:
        left = self._looks_left.get(node, -1)
        self._looks_left[node] = left - 1
        if left == 0 and node not in self.hanging:
            self.states = {name: "ALONE" if state == "PRIM" else state for name, state in self.states.items()}
            self.states[node] = "STOP"
        running = "stop" if left > 0 else ""
        return {"name": "db", "state": self.states[node], "running": running, "desired": self.desired[node]}

    async def stop(self, *nodes: str, timeout_s: float = 30.0) -> dict[str, Any]:
        return await Stopping(self.fan).stop(StopArgs(module="db", nodes=nodes, timeout_s=timeout_s, by="anna"))


@pytest.mark.parametrize("asked", [("*",), ("n1", "n2"), ("n2", "n1")])
@pytest.mark.parametrize("states", [{"n1": "PRIM", "n2": "SECOND"}, {"n1": "SECOND", "n2": "PRIM"}])
async def test_the_secondary_stops_before_the_primary_is_told(asked: tuple[str, ...], states: dict[str, str]) -> None:
    nodes = Nodes(**states)
    answers = await nodes.stop(*asked)
    primary = "n1" if states["n1"] == "PRIM" else "n2"
    assert nodes.told == [("n2" if primary == "n1" else "n1", "PRIM"), (primary, "STOP")]
    decided = [decision for node in ("n1", "n2") for decision in answers[node]["result"]["decisions"]]
    assert decided == ["stop asked for by anna"] * 2


@pytest.mark.parametrize(
    ("asked", "states", "told"),
    [
        (("n1",), {"n1": "PRIM", "n2": "SECOND"}, [("n1", "SECOND")]),
        (("*",), {"n1": "ALONE", "n2": "STOP"}, [("n1", "STOP"), ("n2", "ALONE")]),
        (("*",), {"n1": "UP", "n2": "UP"}, [("n1", "UP"), ("n2", "UP")]),
        (("*",), {"n1": "WAIT", "n2": "WAIT"}, [("n1", "WAIT"), ("n2", "WAIT")]),
    ],
)
async def test_where_nothing_is_to_be_waited_for_all_are_told_at_once(
    asked: tuple[str, ...], states: dict[str, str], told: list[tuple[str, str]]
) -> None:
    nodes = Nodes(**states)
    await nodes.stop(*asked)
    assert nodes.told == told


async def test_a_node_that_does_not_answer_is_told_of_and_waited_for_by_nobody() -> None:
    nodes = Nodes(n1="ALONE")
    nodes.silent.add("n2")
    answers = await nodes.stop("*")
    assert nodes.told == [("n1", "")]
    assert "result" in answers["n1"]
    assert "does not answer" in answers["n2"]["error"]["message"]


async def test_a_primary_goes_on_when_the_secondary_does_not_stop() -> None:
    nodes = Nodes(n1="PRIM", n2="SECOND")
    nodes.hanging.add("n2")
    with pytest.raises(TimeoutError, match=r"'db' did not stop on n2 within 0\.5 s; n1 goes on"):
        await nodes.stop("*", timeout_s=0.5)
    assert nodes.told == [("n2", "PRIM")]


async def test_a_primary_goes_on_when_somebody_starts_the_secondary_again() -> None:
    nodes = Nodes(n1="PRIM", n2="SECOND")
    nodes.hanging.add("n2")
    stopping = asyncio.create_task(nodes.stop("*"))
    while not nodes.told:  # noqa: ASYNC110 - the double has no event
        await asyncio.sleep(0)
    nodes.desired["n2"] = True
    with pytest.raises(RefusedError, match="started module 'db' on n2 again; n1 goes on"):
        await stopping
    assert nodes.told == [("n2", "PRIM")]


async def test_two_stops_of_one_module_do_not_run_beside_each_other() -> None:
    nodes = Nodes(n1="PRIM", n2="SECOND")
    nodes.hanging.add("n2")
    stopping, asked = Stopping(nodes.fan), StopArgs(module="db", nodes=("*",))
    first = asyncio.create_task(stopping.stop(asked))
    while not nodes.told:  # noqa: ASYNC110 - the double has no event
        await asyncio.sleep(0)
    with pytest.raises(RefusedError, match="under way already"):
        await stopping.stop(asked)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    nodes.hanging.clear()
    await stopping.stop(StopArgs(module="db", nodes=("n1",)))
