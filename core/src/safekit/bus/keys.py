"""A node's CURVE key pair. The secret half is in one file that only root reads, and never leaves the node."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from safekit_sdk import ConfigError


@dataclass(frozen=True, slots=True)
class KeyPair:
    public: str
    """Z85, 40 characters."""
    secret: str = field(repr=False)


def generate() -> KeyPair:
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def save(pair: KeyPair, path: Path) -> None:
    """Write a new file of mode 0600, durable on return; FileExistsError when there is one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{pair.public}\n{pair.secret}\n")
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> KeyPair:
    """Read the pair; ConfigError when it is missing, open to others, or damaged."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the node key {path} cannot be read: {error}", hint="run `safekit cluster init` or `safekit cluster join`"
        ) from None
    if mode & 0o077:
        raise ConfigError(f"the node key {path} is open to others", hint=f"chmod 600 {path}")
    if len(lines) != 2 or zmq.curve_public(lines[1].encode()).decode() != lines[0]:
        raise ConfigError(f"the node key {path} is damaged", hint="restore it, or let the node join again")
    return KeyPair(lines[0], lines[1])
