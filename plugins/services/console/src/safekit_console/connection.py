"""What a request may know of the connection that it came by: the certificate of the other end."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from hypercorn.asyncio import run
from hypercorn.asyncio.tcp_server import TCPServer

SHOWN: Final = "safekit_console.shown"
"""In the state that hypercorn keeps for each connection, and copies for each request on it. No header gets there."""


class Connection(TCPServer):
    async def run(self) -> None:
        tls = self.writer.get_extra_info("ssl_object")
        self.state = {**self.state, SHOWN: tls.getpeercert(binary_form=True) if tls else None}
        await super().run()


def keep_certificates() -> None:
    """Hypercorn has no way in for a class of one's own, but takes its own by this name."""
    run.TCPServer = Connection  # type: ignore[attr-defined]


def shown_by(request: Request) -> bytes:
    """The certificate, in DER, whose key the other end has proven to own; empty where it showed none."""
    found = request.scope.get("state", {}).get(SHOWN)
    return found if isinstance(found, bytes) else b""
