"""Answers with its name: UDP and TCP at port 7000, each TCP line again and again; at 7001 it sends as many bytes as the
line asks for. `python server.py NAME ADDRESS`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

NAME, ADDRESS = sys.argv[1].encode(), sys.argv[2]


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        self.transport.sendto(data[:8] + b" " + NAME, peer)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(NAME + b" " + line)
    writer.close()


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"x" * int(await reader.readline()))
    writer.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Echo, (ADDRESS, 7000))
    servers = [
        await asyncio.start_server(answer, ADDRESS, 7000, backlog=1024),
        await asyncio.start_server(pour, ADDRESS, 7001),
    ]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())
