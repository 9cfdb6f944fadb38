"""Run on the client's machine by console.py: many event streams, many open pages, and requests as fast as they are
answered."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from typing import Any

import httpx

WORKERS = 16
TRUST: Any = ssl.create_default_context()
TRUST.check_hostname = False
TRUST.verify_mode = ssl.CERT_NONE


async def ask(url: str, token: str, count: int) -> dict[str, float]:
    """Requests a second."""
    left = iter(range(count))

    async def work(client: httpx.AsyncClient) -> None:
        for _ in left:
            (await client.get(f"{url}/api/v1/modules")).raise_for_status()

    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(verify=TRUST, headers=headers, timeout=60.0) as client:
        await work_once(client, url)
        begun_s = time.monotonic()
        await asyncio.gather(*(work(client) for _ in range(WORKERS)))
        return {"per_s": count / (time.monotonic() - begun_s)}


async def work_once(client: httpx.AsyncClient, url: str) -> None:
    (await client.get(f"{url}/api/v1/modules")).raise_for_status()


async def follow(url: str, token: str, count: int, duration_s: float) -> dict[str, Any]:
    """When each stream heard of which version: `[[stream, version, wall], …]`."""
    heard: list[tuple[int, int, float]] = []

    async def stream(number: int) -> None:
        headers = {"authorization": f"Bearer {token}"}
        async with (
            httpx.AsyncClient(verify=TRUST, headers=headers, timeout=60.0) as client,
            client.stream("GET", f"{url}/api/v1/events") as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith('data: {"version"'):
                    heard.append((number, json.loads(line[6:])["version"], time.time()))

    tasks = [asyncio.create_task(stream(number)) for number in range(count)]
    await asyncio.sleep(duration_s)
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [repr(end) for end in ends if not isinstance(end, asyncio.CancelledError)]
    return {"heard": heard, "failed": failed}


async def pages(url: str, token: str, count: int, duration_s: float) -> dict[str, Any]:
    """As so many open pages of the module `web` do: each follows the events, and fetches itself anew at each. How long
    the fetches took, in ms. Says `open` when all have begun."""
    took_ms: list[float] = []
    begun: set[int] = set()

    async def one(number: int) -> None:
        headers = {"authorization": f"Bearer {token}", "accept": "text/html"}
        async with httpx.AsyncClient(verify=TRUST, headers=headers, timeout=60.0) as client:
            while not await _follows(client, number):  # noqa: ASYNC110 - another process ends them
                await asyncio.sleep(1.0)

    async def _follows(client: httpx.AsyncClient, number: int) -> bool:
        """False where too many streams are open: those of an earlier run have to end first."""
        async with client.stream("GET", f"{url}/api/v1/events") as answer:
            if answer.status_code == 429:
                return False
            async for line in answer.aiter_lines():
                if line.startswith('data: {"version"'):
                    begun_s = time.monotonic()
                    (await client.get(f"{url}/modules/web")).raise_for_status()
                    took_ms.append((time.monotonic() - begun_s) * 1000)
                    begun.add(number)
        return True

    tasks = [asyncio.create_task(one(number)) for number in range(count)]
    while len(begun) < count and not any(task.done() for task in tasks):  # noqa: ASYNC110 - of many, none has an event
        await asyncio.sleep(0.1)
    print("open", flush=True)
    took_ms.clear()
    await asyncio.sleep(duration_s)
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [repr(end) for end in ends if not isinstance(end, asyncio.CancelledError)]
    return {"took_ms": took_ms, "failed": failed}


if __name__ == "__main__":
    what, place, bearer, number = sys.argv[1:5]
    if what == "ask":
        work: Any = ask(place, bearer, int(number))
    else:
        work = {"follow": follow, "pages": pages}[what](place, bearer, int(number), float(sys.argv[5]))
    print(json.dumps(asyncio.run(work)))
