"""What every witness passes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from safekit_sdk.testing.conformance.plugin import PluginConformance, collect
from safekit_sdk.testing.context import RecordingContext
from safekit_sdk.testing.leaks import Belongings, left_since
from safekit_sdk.witness import Lease, Refusal, Witness

_EXCLUSIVE_TESTS = (
    "test_one_node_at_a_time_has_the_lease",
    "test_a_released_lease_goes_to_the_other_node_with_a_greater_epoch",
    "test_a_lease_of_an_old_epoch_is_not_renewed",
    "test_who_has_the_lease_gets_another_one_and_the_former_is_over",
    "test_a_lease_has_at_least_the_epoch_that_was_asked_for",
    "test_a_probe_takes_nothing",
    "test_who_does_not_know_of_the_other_nodes_last_lease_is_refused",
    "test_a_refusal_changes_nothing",
    "test_what_the_other_node_was_given_is_not_forgotten_over_what_this_one_was_given_since",
)
_UNREACHABLE_TESTS = ("test_a_witness_that_is_not_reached_is_an_error_within_the_timeout",)


class WitnessConformance(PluginConformance):
    """A subclass gives `plugin` and the fixture `settings`, which has a real witness running that holds no lease."""

    plugin: ClassVar[type[Witness[Any]]]
    group = "safekit.witnesses"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        plugin = getattr(cls, "plugin", None)
        if plugin is None:
            return
        collect(cls, _EXCLUSIVE_TESTS, plugin.exclusive)
        collect(cls, _UNREACHABLE_TESTS, cls.make_unreachable is not WitnessConformance.make_unreachable)

    async def make_unreachable(self, config: Any) -> None:
        """Cut the node off from the witness, or end it. Optional."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def two_nodes(self, config: Any, context: RecordingContext) -> AsyncIterator[tuple[Any, Any]]:
        one, other = self.made(config, context), self.made(config, context)
        try:
            yield one, other
        finally:
            await one.close()
            await other.close()

    async def bounded(self, call: Any, config: Any) -> Any:
        """As the engine calls it."""
        async with asyncio.timeout(config.timeout.seconds):
            return await call

    @pytest.mark.asyncio
    async def test_a_lease_is_given_renewed_and_released(self, config: Any, context: RecordingContext) -> None:
        async with self.two_nodes(config, context) as (witness, _):
            await self._renew_and_release(witness, config)

    async def _renew_and_release(self, witness: Any, config: Any) -> None:
        lease = await self.bounded(witness.acquire("test", "node1", 0), config)
        assert isinstance(lease, Lease)
        assert lease.ttl_s > 0
        again = await self.bounded(witness.renew("test", "node1", lease.epoch), config)
        assert isinstance(again, Lease)
        assert again.epoch == lease.epoch, "a renewal keeps the epoch"
        for _ in range(2):
            await self.bounded(witness.release("test", "node1", lease.epoch), config)

    @pytest.mark.asyncio
    async def test_one_node_at_a_time_has_the_lease(self, config: Any, context: RecordingContext) -> None:
        async with self.two_nodes(config, context) as (one, other):
            lease = await self.bounded(one.acquire("test", "node1", 0), config)
            refused = await self.bounded(other.acquire("test", "node2", 0), config)
            assert isinstance(refused, Refusal)
            assert refused.reason, "people want to know who has it"
            assert 0 <= refused.wait_s <= lease.ttl_s
            assert isinstance(await self.bounded(other.renew("test", "node2", lease.epoch), config), Refusal)
            await self.bounded(other.release("test", "node2", lease.epoch), config)
            assert isinstance(await self.bounded(one.renew("test", "node1", lease.epoch), config), Lease)
            assert isinstance(await self.bounded(other.acquire("other-module", "node2", 0), config), Lease)

    @pytest.mark.asyncio
    async def test_who_has_the_lease_gets_another_one_and_the_former_is_over(
        self, config: Any, context: RecordingContext
    ) -> None:
        async with self.two_nodes(config, context) as (one, other):
            former = await self.bounded(one.acquire("test", "node1", 0), config)
            later = await self.bounded(one.acquire("test", "node1", 0), config)
            assert later.epoch > former.epoch
            assert isinstance(await self.bounded(one.renew("test", "node1", former.epoch), config), Refusal)
            await self.bounded(one.release("test", "node1", former.epoch), config)
            assert isinstance(await self.bounded(other.acquire("test", "node2", 0), config), Refusal)

    @pytest.mark.asyncio
    async def test_a_lease_has_at_least_the_epoch_that_was_asked_for(
        self, config: Any, context: RecordingContext
    ) -> None:
        async with self.two_nodes(config, context) as (witness, _):
            lease = await self.bounded(witness.acquire("test", "node1", 4_000_000_000), config)
            assert lease.epoch >= 4_000_000_000
            await self.bounded(witness.release("test", "node1", lease.epoch), config)
            assert (await self.bounded(witness.acquire("test", "node1", 5), config)).epoch > lease.epoch

    @pytest.mark.asyncio
    async def test_a_probe_takes_nothing(self, config: Any, context: RecordingContext) -> None:
        async with self.two_nodes(config, context) as (one, other):
            assert await self.bounded(other.probe("test", "node2"), config)
            lease = await self.bounded(one.acquire("test", "node1", 0), config)
            assert await self.bounded(other.probe("test", "node2"), config)
            assert isinstance(await self.bounded(one.renew("test", "node1", lease.epoch), config), Lease)

    @pytest.mark.asyncio
    async def test_a_released_lease_goes_to_the_other_node_with_a_greater_epoch(
        self, config: Any, context: RecordingContext
    ) -> None:
        async with self.two_nodes(config, context) as (one, other):
            first = await self.bounded(one.acquire("test", "node1", 0), config)
            await self.bounded(one.release("test", "node1", first.epoch), config)
            second = await self.bounded(other.acquire("test", "node2", 0), config)
            assert second.epoch > first.epoch, "an epoch only grows"

    @pytest.mark.asyncio
    async def test_a_lease_of_an_old_epoch_is_not_renewed(self, config: Any, context: RecordingContext) -> None:
        async with self.two_nodes(config, context) as (one, other):
            old = await self.bounded(one.acquire("test", "node1", 0), config)
            await self.bounded(one.release("test", "node1", old.epoch), config)
            assert isinstance(await self.bounded(one.renew("test", "node1", old.epoch), config), Refusal)
            await self.bounded(other.acquire("test", "node2", 0), config)
            assert isinstance(await self.bounded(one.renew("test", "node1", old.epoch), config), Refusal)

    async def ended(self, witness: Any, node: str, config: Any, after: int | None = None) -> int:
        """The epoch of a lease that the node was given, and gave back."""
        lease = await self.bounded(witness.acquire("test", node, 0, after), config)
        assert isinstance(lease, Lease), lease
        await self.bounded(witness.release("test", node, lease.epoch), config)
        return lease.epoch

    async def refuses(self, witness: Any, node: str, config: Any, after: int) -> None:
        answer = await self.bounded(witness.acquire("test", node, 0, after), config)
        assert isinstance(answer, Refusal), f"{node}, which knows of {after}, was given {answer}"
        assert answer.reason, "people want to know why"

    @pytest.mark.asyncio
    async def test_who_does_not_know_of_the_other_nodes_last_lease_is_refused(
        self, config: Any, context: RecordingContext
    ) -> None:
        async with self.two_nodes(config, context) as (one, other):
            known = (await self.bounded(one.acquire("test", "node1", 0, 0), config)).epoch
            raised = (await self.bounded(one.acquire("test", "node1", 0), config)).epoch
            await self.refuses(other, "node2", config, known)
            await self.bounded(one.release("test", "node1", raised), config)
            await self.refuses(other, "node2", config, known)
            await self.refuses(other, "node2", config, raised - 1)
            later = await self.ended(other, "node2", config, raised)
            await self.refuses(one, "node1", config, raised)
            await self.ended(one, "node1", config, later)
            await self.ended(other, "node2", config, None)

    @pytest.mark.asyncio
    async def test_a_refusal_changes_nothing(self, config: Any, context: RecordingContext) -> None:
        async with self.two_nodes(config, context) as (one, other):
            lease = await self.bounded(one.acquire("test", "node1", 0, 0), config)
            await self.refuses(other, "node2", config, lease.epoch - 1)
            assert isinstance(await self.bounded(one.renew("test", "node1", lease.epoch), config), Lease)
            await self.bounded(one.release("test", "node1", lease.epoch), config)
            for _ in range(2):
                await self.refuses(other, "node2", config, lease.epoch - 1)
            await self.ended(one, "node1", config, 0)

    @pytest.mark.asyncio
    async def test_what_the_other_node_was_given_is_not_forgotten_over_what_this_one_was_given_since(
        self, config: Any, context: RecordingContext
    ) -> None:
        async with self.two_nodes(config, context) as (one, other):
            first = await self.ended(one, "node1", config)
            forced = [await self.ended(other, "node2", config) for _ in range(2)]
            await self.refuses(other, "node2", config, first - 1)
            await self.refuses(one, "node1", config, forced[0])
            last = await self.ended(other, "node2", config, first)
            await self.refuses(one, "node1", config, forced[1])
            await self.ended(one, "node1", config, last)

    @pytest.mark.asyncio
    async def test_it_leaves_no_descriptor_task_or_child(self, config: Any, context: RecordingContext) -> None:
        await self._round(config, context)
        before = Belongings.now()
        await self._round(config, context)
        assert await left_since(before) == []

    async def _round(self, config: Any, context: RecordingContext) -> None:
        async with self.two_nodes(config, context) as (witness, _):
            lease = await self.bounded(witness.acquire("test", "node1", 0), config)
            await self.bounded(witness.release("test", "node1", lease.epoch), config)

    @pytest.mark.asyncio
    async def test_a_witness_that_is_not_reached_is_an_error_within_the_timeout(
        self, config: Any, context: RecordingContext
    ) -> None:
        await self.make_unreachable(config)
        async with self.two_nodes(config, context) as (witness, _):
            with pytest.raises(Exception):  # noqa: B017 - any exception says that it was not reached
                await self.bounded(witness.acquire("test", "node1", 0), config)
