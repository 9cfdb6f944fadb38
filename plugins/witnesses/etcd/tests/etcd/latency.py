"""How long the calls of the witness take on loopback: `python -m etcd.latency`, in the folder above."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from safekit_witness_etcd import EtcdConfig, EtcdWitness

from safekit_sdk import Lease
from safekit_sdk.testing import a_context

from .cluster import running

ROUNDS = 300


async def measure(name: str, call: Callable[[], Awaitable[object]]) -> None:
    taken_ms = []
    for _ in range(ROUNDS):
        begun_s = time.monotonic()
        await call()
        taken_ms.append((time.monotonic() - begun_s) * 1000)
    centiles = statistics.quantiles(taken_ms, n=100)
    print(f"  {name:<24} median {centiles[49]:6.1f} ms   p99 {centiles[98]:6.1f} ms")


async def measure_all(directory: Path, size: int) -> None:
    async with running(directory, size) as cluster:
        print(f"{size} member{'s' if size > 1 else ''}")
        config = EtcdConfig.model_validate({"endpoints": cluster.urls, "timeout": "5s"})
        witness = EtcdWitness(config, a_context(directory))
        lease = await witness.acquire("m", "n1", 0)
        assert isinstance(lease, Lease)
        await measure("renew", lambda: witness.renew("m", "n1", lease.epoch))
        await measure("acquire, refused", lambda: witness.acquire("m", "n2", 0))
        await measure("probe", lambda: witness.probe("m", "n1"))
        await measure("acquire", lambda: witness.acquire("m", "n1", 0))
        await witness.close()


def main() -> None:
    for size in (1, 3):
        with tempfile.TemporaryDirectory() as directory:
            asyncio.run(measure_all(Path(directory), size))


if __name__ == "__main__":
    main()
