"""`python -m safekit_resource_health.server MARK ADDRESS PORT PATH`: answers 200 or 503 by the mark, and nothing else.

A process of its own, without rights: it goes on answering, and says 503, when the module's host is dead or hangs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Final

from safekit_resource_health.mark import Mark, serves

HEAD_MAX_BYTES: Final = 8192
PATIENCE_S: Final = 5.0
AT_A_TIME: Final = 64
"""Questions that are answered at a time; further ones are turned away."""
NOBODY: Final = 65534
READY: Final = "it answers now"


class Server:
    def __init__(self, mark: int, path: str) -> None:
        self._mark = mark
        self._path = path
        self._open = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= AT_A_TIME:
                async with asyncio.timeout(PATIENCE_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._reply(head))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks so gets no answer
        finally:
            self._open -= 1
            writer.close()

    def _reply(self, head: bytes) -> bytes:
        words = head.partition(b"\r\n")[0].decode("ascii", errors="replace").split(" ")
        method, target = (words[0], words[1].partition("?")[0]) if len(words) == 3 else ("", "")
        status, text = self._judge(method, target)
        body = f"{text}\n".encode()
        allow = "Allow: GET, HEAD\r\n" if status is HTTPStatus.METHOD_NOT_ALLOWED else ""
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
            f"Cache-Control: no-store\r\n{allow}Connection: close\r\n\r\n"
        )
        return lines.encode() + (b"" if method == "HEAD" else body)

    def _judge(self, method: str, target: str) -> tuple[HTTPStatus, str]:
        if not method:
            return HTTPStatus.BAD_REQUEST, "this is no question of HTTP"
        if method not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, "ask with GET"
        if target != self._path:
            return HTTPStatus.NOT_FOUND, f"ask for {self._path}"
        if serves(self._mark):
            return HTTPStatus.OK, "serving"
        return HTTPStatus.SERVICE_UNAVAILABLE, "not serving"


async def main() -> None:
    path, address, port, target = sys.argv[1:]
    server = Server(Mark(Path(path)).open(), target)
    listening = await asyncio.start_server(
        server.answer, address or None, int(port), limit=HEAD_MAX_BYTES, reuse_address=True
    )
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    print(READY, flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except OSError as error:
        sys.exit(f"{error.strerror or error}")
