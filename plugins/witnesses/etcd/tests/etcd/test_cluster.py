"""Three members, of which some die, freeze, and come back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from safekit_witness_etcd import EtcdWitness

from safekit_sdk import Lease, PeerError, Refusal

from .cluster import Cluster, Member, until
from .conftest import PATIENCE_S, Make


async def takes(witness: EtcdWitness, node: str) -> Lease:
    """Ask until it is given; an error is no answer."""
    given: list[Lease] = []

    async def has_it() -> bool:
        try:
            answer = await witness.acquire("m", node, 0)
        except PeerError:
            return False
        given.extend([answer] if isinstance(answer, Lease) else [])
        return bool(given)

    await until(has_it)
    return given[0]


async def renews(witness: EtcdWitness, node: str, epoch: int) -> None:
    async def renewed() -> bool:
        try:
            return isinstance(await witness.renew("m", node, epoch), Lease)
        except PeerError:
            return False

    await until(renewed)


async def test_calls_go_on_when_a_follower_is_killed(three: Cluster, make: Make) -> None:
    victim = (await three.followers())[0]
    witness = make(victim.client_url, *(url for url in three.urls if url != victim.client_url))
    lease = await witness.acquire("m", "n1", 0)
    assert isinstance(lease, Lease)
    victim.kill()
    for _ in range(5):
        assert isinstance(await witness.renew("m", "n1", lease.epoch), Lease)
    assert isinstance(await witness.acquire("m", "n2", 0), Refusal)


async def test_without_a_majority_every_call_is_an_error_in_time_and_afterwards_it_goes_on(
    three: Cluster, make: Make
) -> None:
    witness = make(*three.urls, timeout="500ms")
    lease = await takes(witness, "n1")
    for member in three.members[:2]:
        member.kill()
    calls = (witness.acquire, witness.renew, witness.release)
    for call in calls:
        with pytest.raises(PeerError, match="etcd does not answer: http"):
            await asyncio.wait_for(call("m", "n1", lease.epoch), PATIENCE_S)
    with pytest.raises(PeerError):
        await asyncio.wait_for(witness.probe("m", "n1"), PATIENCE_S)
    await three.mend()
    later = await takes(witness, "n1")
    assert later.epoch > lease.epoch
    assert isinstance(await witness.renew("m", "n1", lease.epoch), Refusal)


async def test_a_lease_is_kept_by_who_has_it_when_the_leader_is_killed(three: Cluster, make: Make) -> None:
    witness = make(*three.urls, timeout="900ms", lease="5s")
    other = make(*three.urls, timeout="900ms", lease="5s")
    lease = await takes(witness, "n1")
    renewing = [asyncio.create_task(renews(witness, "n1", lease.epoch)) for _ in range(3)]
    (await three.leader()).kill()
    await asyncio.gather(*renewing)
    await renews(witness, "n1", lease.epoch)
    assert isinstance(await other.acquire("m", "n2", 0), Refusal)
    await witness.release("m", "n1", lease.epoch)
    assert (await takes(other, "n2")).epoch > lease.epoch


@pytest.mark.parametrize("which", ["leader", "follower"])
async def test_a_frozen_member_does_not_eat_the_time_of_the_others(three: Cluster, make: Make, which: str) -> None:
    frozen = await three.leader() if which == "leader" else (await three.followers())[0]
    witness = make(*sorted(three.urls, key=lambda url: url != frozen.client_url), timeout="1s")
    lease = await takes(witness, "n1")
    frozen.freeze()
    await renews(witness, "n1", lease.epoch)
    assert witness._gateway._endpoints[0] != frozen.client_url
    for _ in range(3):
        assert isinstance(await witness.renew("m", "n1", lease.epoch), Lease)


async def test_a_leader_that_was_frozen_gives_nobody_what_another_node_has(three: Cluster, make: Make) -> None:
    """It believes to lead when it wakes up, and has the requests of the node that had the lease before it."""
    frozen = await three.leader()
    first = make(frozen.client_url, timeout="900ms", lease="1s")
    lease = await takes(first, "n1")
    frozen.freeze()
    others = [url for url in three.urls if url != frozen.client_url]
    later = await takes(make(*others, timeout="900ms", lease="9s"), "n2")
    assert later.epoch > lease.epoch
    patient = [make(frozen.client_url, timeout="8s", lease="9s") for _ in range(8)]
    asking = [asyncio.create_task(one.renew("m", "n1", lease.epoch)) for one in patient]
    await arrived(frozen, len(asking))
    frozen.thaw()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert answers
    assert all(isinstance(answer, Refusal | PeerError) for answer in answers), answers


async def arrived(member: Member, count: int) -> None:
    """So many requests wait in the sockets of the member."""

    async def waits() -> bool:
        return waiting_requests(member.client_url) >= count

    await until(waits)


def waiting_requests(url: str) -> int:
    """Connections to this address, of any state with unread data, by the kernel's table."""

    parts = urlsplit(url)
    address = "".join(f"{int(part):02X}" for part in reversed(str(parts.hostname).split(".")))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f"{address}:{parts.port:04X}"
    return sum(1 for row in rows if row[1] == local and int(row[4].split(":")[1], 16) > 0 and row[3] == "01")
