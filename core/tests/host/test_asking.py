"""What the host asks the witness, and what it tells of the answer: with a real witness, the fake one of the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from safekit.bus.messages import AskWitness, WitnessSaid
from safekit.engine.actions import WitnessCall
from safekit.host.asking import Asking
from safekit_sdk.testing import a_context
from safekit_sdk.testing.fakes import FakeWitness, FakeWitnessConfig


class Host:
    """One node's end."""

    def __init__(self, node: str, tmp_path: Path) -> None:
        config = FakeWitnessConfig.model_validate({"directory": str(tmp_path)})
        self._said: asyncio.Queue[WitnessSaid] = asyncio.Queue()
        self.asking = Asking(FakeWitness(config, a_context(tmp_path)), "paris/web", node, self._said.put_nowait)

    async def ask(self, call: WitnessCall, epoch: int = 0, after: int | None = None) -> WitnessSaid:
        self.asking.ask(AskWitness(number=1, call=call, epoch=epoch, after=after))
        return await asyncio.wait_for(self._said.get(), 10.0)


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[tuple[Host, Host]]:
    both = Host("node1", tmp_path), Host("node2", tmp_path)
    yield both
    for one in both:
        await one.asking.close()


async def test_who_does_not_know_of_the_other_nodes_lease_is_told_why_it_gets_none(hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    epoch = (await one.ask(WitnessCall.ACQUIRE, 7)).epoch
    assert (await one.ask(WitnessCall.RELEASE, epoch)).reached
    refused = await other.ask(WitnessCall.ACQUIRE, after=epoch - 1)
    assert (refused.reached, refused.granted) == (True, False)
    assert f"node1 had it since, with epoch {epoch}" in refused.text
    assert (await other.ask(WitnessCall.ACQUIRE, after=epoch)).granted


async def test_by_force_it_is_asked_for_whatever_was(hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    epoch = (await one.ask(WitnessCall.ACQUIRE, 7)).epoch
    await one.ask(WitnessCall.RELEASE, epoch)
    assert (await other.ask(WitnessCall.ACQUIRE)).granted
