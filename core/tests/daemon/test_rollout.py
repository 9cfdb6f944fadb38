"""A configuration comes into force where it may, also when the node went on since it was asked."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, cast

import pytest

from safekit.bus import keys
from safekit.bus.nodes import NodeBus
from safekit.config.cluster import Cluster
from safekit.daemon.configuration import Configuration
from safekit.daemon.operations import CommitArgs, StageArgs
from safekit.daemon.rollout import Rollout
from safekit.settings import Settings
from safekit_sdk import PeerError, RefusedError

HERE = "kind: light\nnodes: [n1]\n"
ELSEWHERE = "kind: light\nnodes: [n2]\n"


class Node:
    """n1 of a cluster of two; what is asked of it alone needs no other node."""

    def __init__(self, place: Path) -> None:
        settings = Settings(**{name: place / name for name in ("etc", "var", "run", "log")})
        own = keys.generate()
        keys.save(own, settings.key_file)
        cluster = Cluster.new("c", "n1", {"": "127.0.0.1"}, own.public)
        cluster.with_node("n2", {"lan": "127.0.0.2"}, keys.generate().public).save(settings.cluster_file)
        self.configuration = Configuration(settings, own)
        self.is_stopped = True
        no_bus = cast(NodeBus, None)
        self.rollout = Rollout(self.configuration, no_bus, lambda *_: None, lambda _: self.is_stopped)

    async def stage(self, text: str) -> dict[str, Any]:
        files = {"module.yaml": base64.b64encode(text.encode()).decode()}
        return await self.rollout.stage(StageArgs(module="watch", files=files, revision=0))

    async def commit(self, staged: dict[str, Any], revision: int) -> None:
        await self.rollout.commit(CommitArgs(module="watch", digest=staged["digest"], revision=revision))

    @property
    def in_force(self) -> tuple[str, ...]:
        return self.configuration.modules["watch"].compiled.nodes


async def test_what_started_since_it_was_staged_is_not_changed_under_it(tmp_path: Path) -> None:
    node = Node(tmp_path)
    await node.commit(await node.stage(HERE), 1)
    staged = await node.stage(ELSEWHERE)
    assert staged["refusal"] == ""
    node.is_stopped = False
    with pytest.raises(RefusedError, match="would never be stopped there"):
        await node.commit(staged, 2)
    assert node.in_force == ("n1",)
    with pytest.raises(PeerError, match="is staged here"):
        await node.commit(staged, 2)
    node.is_stopped = True
    await node.commit(await node.stage(ELSEWHERE), 2)
    assert node.in_force == ("n2",)


async def test_a_refusal_is_told_as_the_last_of_the_findings(tmp_path: Path) -> None:
    node = Node(tmp_path)
    await node.commit(await node.stage(HERE), 1)
    node.is_stopped = False
    staged = await node.stage(ELSEWHERE)
    assert "would never be stopped there" in staged["refusal"]
    assert staged["findings"][-1] == staged["refusal"]
