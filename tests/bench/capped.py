"""A web server that answers so many requests a second and not one more: `python capped.py PORT PER_SECOND`.

What a server with work to do is to its clients: with it a bench shows whether more servers serve more.
"""

from __future__ import annotations

import asyncio
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


class Capped:
    def __init__(self, per_second: float) -> None:
        self._pause_s = 1.0 / per_second
        self._next_s = 0.0

    async def turn(self) -> None:
        """Wait for one's turn; there is no burst."""
        now_s = asyncio.get_running_loop().time()
        self._next_s = max(self._next_s, now_s) + self._pause_s
        await asyncio.sleep(self._next_s - self._pause_s - now_s)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await self.turn()
            writer.write(ANSWER)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # a client that went
        finally:
            writer.close()


async def main() -> None:
    server = await asyncio.start_server(Capped(float(sys.argv[2])).answer, port=int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
