"""Where safekitd listens, and who may come in."""

from __future__ import annotations

import os
from pathlib import Path

from safekit_sdk.errors import ConfigError

LONGEST_PATH_BYTES = 100


def socket_address(path: Path) -> str:
    """ConfigError when the kernel would not take it."""
    if len(os.fsencode(path)) > LONGEST_PATH_BYTES:
        raise ConfigError(f"the socket path {path} is too long for a unix socket", hint="choose a shorter SAFEKIT_RUN")
    return str(path)


def open_to_group(socket: Path, group_id: int | None) -> None:
    """Root alone may connect, or members of this group as well: they may pass through the directory, and read nothing
    of it."""
    os.chown(socket.parent, 0, group_id if group_id is not None else 0)
    socket.parent.chmod(0o710 if group_id is not None else 0o700)
    if socket.exists():
        os.chown(socket, 0, group_id if group_id is not None else 0)
        socket.chmod(0o660 if group_id is not None else 0o600)
