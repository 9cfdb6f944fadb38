"""What the resource tells the engine: values, places, verdicts, and why it cannot start."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from safekit_resource_rfs import RfsResource
from safekit_resource_rfs.keys import read_place
from safekit_resource_rfs.resource import _facts

from safekit_sdk import ConfigError, Health, Verdict

from .cluster import Node, mirrored, two_nodes, until


class Watcher:
    """A host's watch over one resource."""

    def __init__(self, node: Node) -> None:
        self.verdicts: list[Verdict] = []
        self._task = asyncio.create_task(self._run(node.resource()))

    async def _run(self, resource: RfsResource) -> None:
        async for verdict in resource.watch():
            self.verdicts.append(verdict)

    async def says(self, health: Health) -> Verdict:
        await until(lambda: self.verdicts and self.verdicts[-1].health is health)
        return self.verdicts[-1]

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def values(node: Node, **wanted: str) -> bool:
    return all(node.context.values.get(f"rfs.{name}") == value for name, value in wanted.items())


async def test_the_values_follow_what_each_node_has(pair: tuple[Node, Node]) -> None:
    one, two = pair
    watchers = [Watcher(node) for node in pair]
    try:
        assert values(one, uptodate="down", epoch="0", holding="down")
        await mirrored(one, two, 7)
        await until(lambda: values(one, uptodate="up", epoch="7", degraded="down", holding="down", link="up"))
        await until(lambda: values(two, uptodate="up", epoch="7", degraded="down", link="up"))
        await two.kill()
        await until(lambda: values(one, holding="up", link="down", degraded="up"))
        await one.stand_alone(8)
        await until(lambda: values(one, uptodate="up", epoch="8", holding="down", degraded="up"))
    finally:
        for watcher in watchers:
            await watcher.end()


async def test_the_watch_says_down_when_the_data_path_died_and_what_a_lost_peer_is_not(
    pair: tuple[Node, Node],
) -> None:
    one, two = pair
    await mirrored(one, two)
    watcher = Watcher(one)
    try:
        await watcher.says(Health.UP)
        await two.kill()
        await one.becomes(holding=True)
        await watcher.says(Health.UP)
        await one.kill()
        assert "ended" in (await watcher.says(Health.DOWN)).reason
    finally:
        await watcher.end()


async def test_the_watch_says_down_when_somebody_unmounted_it(pair: tuple[Node, Node]) -> None:
    one, _ = pair
    watcher = Watcher(one)
    try:
        await watcher.says(Health.UP)
        process = await asyncio.create_subprocess_exec("umount", "-l", str(one.directory))
        await process.wait()
        assert "unmounted" in (await watcher.says(Health.DOWN)).reason
        assert (await one.resource().status()).state == "failed"
    finally:
        await watcher.end()


async def test_the_place_says_where_it_listens_and_its_key(pair: tuple[Node, Node]) -> None:
    one, two = pair
    port, key, _ = read_place(one.place)
    assert key != read_place(two.place)[1]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
        assert stranger.recv(1) == b""


async def test_what_runs_has_nothing_against_a_plan(pair: tuple[Node, Node]) -> None:
    one, _ = pair
    assert RfsResource.preflight(one.config, "mirror") == []
    await one.promote(1)
    assert RfsResource.preflight(one.config, "mirror") == []
    await one.kill()
    assert RfsResource.preflight(one.config, "mirror") == []


async def test_a_directory_of_another_module_is_refused(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, _):
        await one.stop()
        owner = one.directory / ".safekit-rfs" / "owner"
        owner.write_text(json.dumps({"module": "other", "name": "data"}))
        with pytest.raises(ConfigError, match="module 'other'"):
            await one.start()
        await one.stop()
        assert not one.pids


async def test_a_directory_is_served_by_one_data_path_only(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await two.stop()
    two.config = two.config.model_copy(update={"directory": one.directory})
    with pytest.raises(ConfigError, match="another data path"):
        await two.start()
    assert await one.is_(role="secondary")


async def test_what_it_says_of_itself_are_facts(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await mirrored(one, two)
    facts = await one.resource().inspect({})
    assert (facts["role"], facts["link"], facts["peer"]) == ("primary", "paired", "node2")
    assert {"sent_bytes", "lag_bytes", "marks"} <= facts.keys()


def test_progress_is_told_flat() -> None:
    status = {"role": "primary", "resync": {"done_bytes": 5, "left_s": None}, "verify": None}
    assert _facts(status) == {"role": "primary", "resync.done_bytes": "5"}


async def test_a_node_that_never_met_the_other_waits(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await two.stop()
    await one.meet(two)
    await two.start()
    assert (await two.status())["link"] == "unconnected"
