"""One etcd of one member and one of three, mended before each test, which has a prefix of its own in it."""

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
PATIENCE_S = 10.0
"""For a call that has 500 ms, on a machine that has other work to do."""


class Make(Protocol):
    def __call__(self, *urls: str, **settings: Any) -> EtcdWitness: ...


def kept(directory: Path, size: int) -> Iterator[Cluster]:
    """For the whole run of the tests, whatever they do to its members."""
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        try:
            yield runner.run(stack.enter_async_context(running(directory, size)))
        finally:
            runner.run(stack.aclose())


@pytest.fixture(scope="session")
def one_member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from kept(tmp_path_factory.mktemp("one"), 1)


@pytest.fixture(scope="session")
def three_members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from kept(tmp_path_factory.mktemp("three"), 3)


@pytest.fixture
async def etcd(one_member: Cluster) -> Cluster:
    await one_member.mend()
    return one_member


@pytest.fixture
async def three(three_members: Cluster) -> Cluster:
    await three_members.mend()
    return three_members


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
