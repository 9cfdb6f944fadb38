"""Who gets the lease, with which epoch, and for how long: against a real etcd."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import pytest
from safekit_witness_etcd import EtcdWitness

from safekit_sdk import ConfigError, Lease, Refusal
from safekit_sdk.testing.leaks import Belongings, left_since
from safekit_sdk.testing.suspension import cancelled_at, count_suspensions

from .cluster import Cluster, until
from .conftest import Make
from .proxy import Proxy, a_proxy

OLDER = '{"node": "n1", "epoch": 4001, "released": true}'


async def given(call: Any) -> Lease:
    answer = await call
    assert isinstance(answer, Lease), answer
    return answer


async def refused(call: Any) -> Refusal:
    answer = await call
    assert isinstance(answer, Refusal), answer
    return answer


async def run_out(witness: EtcdWitness) -> None:
    """Wait until etcd has taken the lease away."""

    async def nobody_has_it() -> bool:
        return (await witness.probe("m", "n1")).startswith("nobody")

    await until(nobody_has_it)


async def drop(etcd: Cluster, key: str) -> None:
    await etcd.post(etcd.urls[0], "/v3/kv/deleterange", {"key": base64.b64encode(key.encode()).decode()})


async def test_the_right_to_run_is_as_long_as_the_lease_and_etcd_counts_a_tenth_more(etcd: Cluster, make: Make) -> None:
    witness = make(*etcd.urls)
    assert (await given(witness.acquire("m", "n1", 0))).ttl_s == 10.0
    assert "n1 has it, with epoch " in await witness.probe("m", "n2")
    odd = make(*etcd.urls, lease="2500ms", timeout="1s")
    assert (await given(odd.acquire("o", "n1", 0))).ttl_s == 2.5
    assert (await refused(odd.acquire("o", "n2", 0))).wait_s in (2.0, 2.5)


async def test_a_refusal_says_who_has_it_and_for_how_long(etcd: Cluster, make: Make) -> None:
    witness = make(*etcd.urls)
    lease = await given(witness.acquire("m", "n1", 0))
    for answer in (await witness.acquire("m", "n2", 0), await witness.renew("m", "n2", lease.epoch)):
        assert isinstance(answer, Refusal)
        assert answer.reason.endswith(f"n1 has it, with epoch {lease.epoch}")
        assert 8 <= answer.wait_s <= 10


async def test_a_lease_that_ran_out_goes_to_the_other_node_not_before_its_time(etcd: Cluster, make: Make) -> None:
    witness = make(*etcd.urls, lease="1s", timeout="900ms")
    asked_s = time.monotonic()
    lease = await given(witness.acquire("m", "n1", 0))
    other: list[Lease] = []

    async def other_has_it() -> bool:
        answer = await witness.acquire("m", "n2", 0)
        other.extend([answer] if isinstance(answer, Lease) else [])
        return bool(other)

    await until(other_has_it)
    assert time.monotonic() - asked_s > lease.ttl_s * 1.1
    assert other[0].epoch > lease.epoch
    over = await refused(witness.renew("m", "n1", lease.epoch))
    assert "n2 has it" in over.reason


async def test_a_lease_that_ran_out_and_went_to_nobody_is_renewed_with_its_epoch(etcd: Cluster, make: Make) -> None:
    witness = make(*etcd.urls, lease="1s", timeout="900ms")
    lease = await given(witness.acquire("m", "n1", 0))
    await run_out(witness)
    assert await witness.probe("m", "n1") == f"nobody has it; n1 had it last, with epoch {lease.epoch}"
    assert "was given to n1" in (await refused(witness.renew("m", "n2", lease.epoch))).reason
    assert "was given to n1" in (await refused(witness.renew("m", "n1", lease.epoch - 1))).reason
    assert (await given(witness.renew("m", "n1", lease.epoch))).epoch == lease.epoch
    await refused(witness.acquire("m", "n2", 0))


async def test_one_that_ran_out_after_another_node_had_it_is_over(etcd: Cluster, make: Make) -> None:
    witness = make(*etcd.urls, lease="1s", timeout="900ms")
    first = await given(witness.acquire("m", "n1", 0))
    await witness.release("m", "n1", first.epoch)
    second = await given(witness.acquire("m", "n2", 0))
    await run_out(witness)
    assert "was given to n2" in (await refused(witness.renew("m", "n1", first.epoch))).reason
    assert (await given(witness.renew("m", "n2", second.epoch))).epoch == second.epoch


async def test_a_released_lease_is_not_renewed_by_anyone(etcd: Cluster, make: Make) -> None:
    witness = make(*etcd.urls)
    lease = await given(witness.acquire("m", "n1", 0))
    await witness.release("m", "n2", lease.epoch)
    await witness.release("m", "n1", lease.epoch - 1)
    await given(witness.renew("m", "n1", lease.epoch))
    await witness.release("m", "n1", lease.epoch)
    answer = await refused(witness.renew("m", "n1", lease.epoch))
    assert answer.reason.endswith("it was released")
    assert answer.wait_s == 0
    assert (await given(witness.acquire("m", "n1", 0))).epoch > lease.epoch


async def test_epochs_grow_also_when_somebody_deleted_the_keys(etcd: Cluster, make: Make, prefix: str) -> None:
    witness = make(*etcd.urls)
    lease = await given(witness.acquire("m", "n1", 0))
    await drop(etcd, f"{prefix}m/last")
    assert "is not known" in (await refused(witness.renew("m", "n1", lease.epoch))).reason
    later = await given(witness.acquire("m", "n1", 0))
    await drop(etcd, f"{prefix}m/last")
    await drop(etcd, f"{prefix}m/holder")
    assert (await given(witness.acquire("m", "n2", 0))).epoch > later.epoch > lease.epoch


async def test_to_whom_epochs_were_given_is_known_after_they_ran_out_and_over_what_was_given_since(
    etcd: Cluster, make: Make
) -> None:
    witness = make(*etcd.urls, lease="1s", timeout="900ms")
    first = await given(witness.acquire("m", "n1", 0))
    await run_out(witness)
    why = (await refused(witness.acquire("m", "n2", 0, first.epoch - 1))).reason
    assert why == f"n1 had it since, with epoch {first.epoch}: n2 may lack what was written then"
    forced = await given(witness.acquire("m", "n2", 0))
    await given(witness.renew("m", "n2", forced.epoch))
    assert "another node had it since" in (await refused(witness.acquire("m", "n2", 0, first.epoch - 1))).reason
    again = await given(witness.acquire("m", "n2", 0, first.epoch))
    await witness.release("m", "n2", again.epoch)
    await refused(witness.acquire("m", "n2", 0, first.epoch - 1))
    await refused(witness.acquire("m", "n1", 0, again.epoch - 1))
    await given(witness.acquire("m", "n1", 0, again.epoch))


async def test_what_an_older_version_wrote_says_nothing_of_others_and_may_be_anything(
    etcd: Cluster, make: Make, prefix: str
) -> None:
    witness = make(*etcd.urls)
    key, value = (base64.b64encode(text.encode()).decode() for text in (f"{prefix}m/last", OLDER))
    await etcd.post(etcd.urls[0], "/v3/kv/put", {"key": key, "value": value})
    await refused(witness.acquire("m", "n1", 0, 3999))
    await refused(witness.acquire("m", "n2", 0, 4000))
    lease = await given(witness.acquire("m", "n1", 0, 4000))
    await witness.release("m", "n1", lease.epoch)
    await refused(witness.acquire("m", "n1", 0, 3999))
    await given(witness.acquire("m", "n2", 0, lease.epoch))


async def test_who_looked_before_another_node_had_it_is_refused_when_it_comes_to_write(
    etcd: Cluster, make: Make
) -> None:
    """Its look is the first request, its lease of etcd's the second, and the third is the transaction."""
    witness = make(*etcd.urls)

    async def meanwhile() -> None:
        lease = await given(witness.acquire("m", "n1", 0))
        await witness.release("m", "n1", lease.epoch)

    async with a_proxy(etcd.urls[0], before=(3, meanwhile)) as proxy:
        slow = make(proxy.url)
        assert "n1 had it since" in (await refused(slow.acquire("m", "n2", 0, 0))).reason
        assert len(proxy.requests) == 3


async def test_what_another_program_wrote_is_not_overwritten(etcd: Cluster, make: Make, prefix: str) -> None:
    witness = make(*etcd.urls)
    key = base64.b64encode(f"{prefix}m/last".encode()).decode()
    await etcd.post(etcd.urls[0], "/v3/kv/put", {"key": key, "value": "aGVsbG8="})
    for call in (witness.acquire("m", "n1", 0), witness.release("m", "n1", 1), witness.probe("m", "n1")):
        with pytest.raises(ConfigError, match=f"{prefix}m/last"):
            await call
    kept = await etcd.post(etcd.urls[0], "/v3/kv/range", {"key": key})
    assert kept["kvs"][0]["value"] == "aGVsbG8="


async def test_modules_do_not_touch_each_other(etcd: Cluster, make: Make) -> None:
    witness = make(*etcd.urls)
    names = ["a", "a/holder", "a/last", "Ä b/☃", "x" * 128]
    leases = [await given(witness.acquire(name, f"n{number}", 0)) for number, name in enumerate(names)]
    for number, name in enumerate(names):
        assert (await given(witness.renew(name, f"n{number}", leases[number].epoch))).epoch == leases[number].epoch


async def test_of_many_nodes_that_ask_at_once_one_gets_it(etcd: Cluster, make: Make) -> None:
    witnesses = [make(*etcd.urls) for _ in range(8)]
    answers = await asyncio.gather(*(one.acquire("m", f"n{number}", 0) for number, one in enumerate(witnesses)))
    assert [type(answer) for answer in answers].count(Lease) == 1


async def test_of_many_calls_of_one_node_the_last_epoch_is_the_one_that_counts(etcd: Cluster, make: Make) -> None:
    witness = make(*etcd.urls)
    answers = await asyncio.gather(*(witness.acquire("m", "n1", 0) for _ in range(3)))
    epochs = sorted(answer.epoch for answer in answers if isinstance(answer, Lease))
    assert len(set(epochs)) == 3
    renewed = [await witness.renew("m", "n1", epoch) for epoch in epochs]
    assert [type(answer) for answer in renewed] == [Refusal, Refusal, Lease]
    both = await asyncio.gather(*(witness.renew("m", "n1", epochs[-1]) for _ in range(3)))
    assert [answer.epoch for answer in both if isinstance(answer, Lease)] == [epochs[-1]] * 3


@pytest.mark.parametrize("number", range(1, 8))
async def test_an_answer_that_is_lost_is_made_good_by_the_next_endpoint(etcd: Cluster, make: Make, number: int) -> None:
    """Of acquire's three requests, renew's three, and release's two, where the first endpoint is asked again."""
    async with a_proxy(etcd.urls[0], lose=number) as proxy, a_proxy(etcd.urls[0]) as other:
        witness = make(proxy.url, other.url)
        lease = await given(witness.acquire("m", "n1", 0))
        witness._gateway._prefer(proxy.url)
        assert (await given(witness.renew("m", "n1", lease.epoch))).epoch == lease.epoch
        witness._gateway._prefer(proxy.url)
        await witness.release("m", "n1", lease.epoch)
        assert len(proxy.requests) >= number
        assert "nobody has it" in await witness.probe("m", "n1")
        assert (await given(witness.acquire("m", "n2", 0))).epoch > lease.epoch


async def test_no_transaction_that_arrives_a_second_time_has_an_effect(etcd: Cluster, make: Make) -> None:
    async with a_proxy(etcd.urls[0]) as proxy:
        witness = make(proxy.url, lease="1s", timeout="900ms")
        lease = await given(witness.acquire("m", "n1", 0))
        await given(witness.renew("m", "n1", lease.epoch))
        await arrive_again(etcd, proxy)
        await run_out(witness)
        await arrive_again(etcd, proxy)
        await given(witness.renew("m", "n1", lease.epoch))
        await witness.release("m", "n1", lease.epoch)
        await arrive_again(etcd, proxy)
        lease = await given(witness.acquire("m", "n2", 0))
        await arrive_again(etcd, proxy)
        assert (await given(witness.renew("m", "n2", lease.epoch))).epoch == lease.epoch


async def arrive_again(etcd: Cluster, proxy: Proxy) -> None:
    """What a frozen member or a slow network may do with each transaction that was sent up to now."""
    writing = [body for path, body in proxy.requests if path == "/v3/kv/txn" and body["compare"]]
    assert writing
    for body in writing:
        assert "succeeded" not in await etcd.post(etcd.urls[0], "/v3/kv/txn", body)


async def test_a_call_can_be_cancelled_anywhere_and_leaves_nothing(etcd: Cluster, make: Make) -> None:
    witness = make(*etcd.urls)
    count = await count_suspensions(witness.acquire("m", "n1", 0))
    await witness.close()
    before = Belongings.now()
    for at in range(1, count + 1):
        await cancelled_at(at, witness.acquire("m", "n1", 0))
    for _ in range(40):
        await cancelled_at(3, witness.acquire("m", "n1", 0))
    lease = await given(witness.acquire("m", "n1", 0))
    assert (await given(witness.renew("m", "n1", lease.epoch))).epoch == lease.epoch
    await witness.close()
    assert await left_since(before) == []
