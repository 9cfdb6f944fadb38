"""Latency and calls a second of a witness on loopback: `python -m lease_server.measure` in the folder above."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from safekit_witness import LeaseConfig, LeaseWitness, control, wire
from safekit_witness.directory import Directory
from safekit_witness.tokens import Token

from safekit_sdk import Lease, Refusal
from safekit_sdk.testing import a_context

CALLS, ABREAST, CLUSTERS = 1000, 16, 4
PORT = 14810


def admit(place: Directory, cluster: str) -> str:
    pair, identity = wire.key_pair(), place.identity()
    control.ask(place.control_path, control.Ask(op="admit", cluster=cluster, public_key=pair.public))
    return str(Token(identity.address, identity.port, wire.pair_of(identity.secret).public, pair.secret))


def node(directory: Path, name: str, places: list[Directory]) -> LeaseWitness:
    path = directory / f"{name}.token"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write("\n".join(admit(place, name) for place in places))
    return LeaseWitness(LeaseConfig.model_validate({"token": f"file:{path}", "lease": "5s"}), a_context(directory))


async def latency(what: str, call: Callable[[], Awaitable[object]]) -> None:
    took_ms = []
    for _ in range(CALLS):
        begun_s = time.perf_counter()
        await call()
        took_ms.append((time.perf_counter() - begun_s) * 1000)
    took_ms.sort()
    print(f"{what:24} median {took_ms[CALLS // 2]:5.2f} ms   p99 {took_ms[CALLS * 99 // 100]:5.2f} ms", flush=True)


async def throughput(what: str, calls: list[Callable[[], Awaitable[object]]]) -> None:
    async def repeat(call: Callable[[], Awaitable[object]]) -> None:
        for _ in range(CALLS // ABREAST):
            await call()

    begun_s = time.perf_counter()
    await asyncio.gather(*map(repeat, calls))
    print(f"{what:24} {len(calls) * (CALLS // ABREAST) / (time.perf_counter() - begun_s):6.0f} a second", flush=True)


async def measure(directory: Path, places: list[Directory]) -> None:
    words = f"{len(places)} witness{'es' if len(places) > 1 else ''}"
    nodes = [node(directory, f"cluster{n}-{len(places)}", places) for n in range(CLUSTERS)]
    one = nodes[0]
    mine = await one.acquire("web", "node1", 0)
    if isinstance(mine, Refusal):
        await asyncio.sleep(mine.wait_s + 2)
        mine = await one.acquire("web", "node1", 0)
    assert isinstance(mine, Lease)
    epoch = mine.epoch
    await latency(f"renew, {words}", lambda: one.renew("web", "node1", epoch))
    await latency(f"probe, {words}", lambda: one.probe("web", "node1"))
    await latency(f"acquire, {words}", lambda: one.acquire("web", "node1", 0))
    pairs = [(client, f"m{n}") for client in nodes for n in range(ABREAST)]
    leases = [await client.acquire(name, "node1", 0) for client, name in pairs]
    epochs = [answer.epoch for answer in leases if isinstance(answer, Lease)]
    every = list(zip(pairs, epochs, strict=True))
    await throughput(f"renew, {words}", [lambda c=c, m=m, e=e: c.renew(m, "node1", e) for (c, m), e in every])  # type: ignore[misc]
    await throughput(f"acquire, {words}", [lambda c=c, m=m: c.acquire(m, "node1", 0) for c, m in pairs])  # type: ignore[misc]
    for client in nodes:
        await client.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        places = [Directory(Path(name) / f"w{number}") for number in range(3)]
        processes = []
        for number, place in enumerate(places):
            place.create("127.0.0.1", PORT + number)
            argv = [sys.executable, "-m", "safekit_witness", "run", "--dir", str(place.path)]
            processes.append(subprocess.Popen(argv, stderr=subprocess.DEVNULL))
        try:
            while not all(place.control_path.is_socket() for place in places):
                time.sleep(0.05)
            asyncio.run(measure(Path(name), places[:1]))
            asyncio.run(measure(Path(name), places))
        finally:
            for process in processes:
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
