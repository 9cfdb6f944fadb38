"""The clients of a farm: each of many addresses asks for a page again and again, each time on a new connection.

`python farm_clients.py URL SECONDS INTERVAL_S ADDRESS…` in a client of the lab. One line of JSON for each request: the
client's address, when it began and ended (monotonic seconds), and the page's first line, or the error.
"""

from __future__ import annotations

import asyncio
import errno
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
"""Longer than a lost server is noticed: a request that finds it lost is answered by another after all."""


@dataclass(frozen=True, slots=True)
class Asked:
    client: str
    start_s: float
    end_s: float
    server: str
    """Empty when there was no answer."""
    error: str = ""


async def ask(url: str, client: str) -> Asked:
    begun_s = time.monotonic()
    server = error = ""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            server = await _page(url, client)
    except (OSError, TimeoutError, ValueError) as failure:
        number = failure.errno if isinstance(failure, OSError) else None
        error = errno.errorcode.get(number or 0, type(failure).__name__)
    return Asked(client, begun_s, time.monotonic(), server, error)


async def _page(url: str, client: str) -> str:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80, local_addr=(client, 0))
    try:
        writer.write(f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
        answer = (await reader.read(65536)).decode(errors="replace")
    finally:
        writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    if " 200 " not in head.partition("\r\n")[0]:
        raise ValueError(head[:80])
    return body.strip().partition("\n")[0]


async def client_loop(url: str, client: str, until_s: float, interval_s: float) -> None:
    while time.monotonic() < until_s:
        asked = await ask(url, client)
        print(json.dumps([asked.client, asked.start_s, asked.end_s, asked.server, asked.error]), flush=True)
        await asyncio.sleep(max(asked.start_s + interval_s - time.monotonic(), 0.0))


async def run(url: str, seconds: float, interval_s: float, clients: list[str]) -> None:
    until_s = time.monotonic() + seconds
    await asyncio.gather(*(client_loop(url, client, until_s, interval_s) for client in clients))


def program(url: str, interval_s: float, clients: Sequence[str]) -> list[str]:
    """The command that asks for two minutes. The text of this file is in it: a node need not see the file."""
    text = Path(__file__).read_text(encoding="utf-8")
    return [sys.executable, "-c", text, url, "120", str(interval_s), *clients]


def records(lines: Iterable[str]) -> list[Asked]:
    """What the program printed; a line that its end cut off is left out."""
    return [Asked(*json.loads(line)) for line in lines if line.startswith("[") and line.endswith("]")]


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
