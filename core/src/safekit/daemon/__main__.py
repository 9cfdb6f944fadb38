"""`safekitd`: the daemon in the foreground. `safekit daemon start` puts it into the background."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from safekit.daemon.daemon import Daemon
from safekit.logs import configure_logs
from safekit.settings import Settings
from safekit_sdk import SafekitError


def main() -> None:
    configure_logs("safekitd")
    try:
        asyncio.run(_run(Settings()))
    except SafekitError as error:
        print(f"safekitd: {error}", file=sys.stderr)
        sys.exit(1)


async def _run(settings: Settings) -> None:
    daemon = Daemon(settings)
    _tell_systemd("READY=1")
    await daemon.run()


def _tell_systemd(state: str) -> None:
    """sd_notify(3), when systemd started us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.sendall(state.encode())


if __name__ == "__main__":
    main()
