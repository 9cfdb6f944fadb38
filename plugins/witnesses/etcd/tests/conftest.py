"""One etcd of one member, in which each test has a prefix of its own; three members where a test harms them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from safekit_witness_etcd import EtcdConfig, EtcdWitness

from safekit_sdk.testing import a_context

from .cluster import Cluster, running

_numbers = itertools.count()


class Make(Protocol):
    def __call__(self, *urls: str, **settings: Any) -> EtcdWitness: ...


@pytest.fixture(scope="session")
def one_member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        try:
            yield runner.run(stack.enter_async_context(running(tmp_path_factory.mktemp("one"), 1)))
        finally:
            runner.run(stack.aclose())


@pytest.fixture
async def etcd(one_member: Cluster) -> Cluster:
    one_member.start()
    await one_member.ready()
    return one_member


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 3) as cluster:
        yield cluster


@pytest.fixture
def prefix() -> str:
    return f"/test{next(_numbers)}/"


@pytest.fixture
async def make(tmp_path: Path, prefix: str) -> AsyncIterator[Make]:
    """Witnesses of these members, as nodes make them."""
    made: list[EtcdWitness] = []

    def one(*urls: str, **settings: Any) -> EtcdWitness:
        given = {"endpoints": urls, "prefix": prefix, "timeout": "5s", **settings}
        made.append(EtcdWitness(EtcdConfig.model_validate(given), a_context(tmp_path)))
        return made[-1]

    yield one
    for witness in made:
        await witness.close()
