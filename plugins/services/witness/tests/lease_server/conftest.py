"""Witnesses that many tests share; each test is a cluster of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import WitnessProcess, a_node, running, until_given


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WitnessProcess, ...]]:
    with running(tmp_path_factory.mktemp("w"), 3) as witnesses:
        asyncio.run(_have_run_for_a_while(witnesses, tmp_path_factory.mktemp("n")))
        yield witnesses


async def _have_run_for_a_while(witnesses: tuple[WitnessProcess, ...], tmp_path: Path) -> None:
    for one in witnesses:
        node = a_node(tmp_path, one.admit())
        try:
            await until_given(node, "node1")
        finally:
            await node.close()


@pytest.fixture(scope="session")
def one(three: tuple[WitnessProcess, ...]) -> WitnessProcess:
    return three[0]
