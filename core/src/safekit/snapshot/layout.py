"""What lies where in a snapshot, and how much of it there may be. docs/how-to/snapshot.md tells it to people.

A snapshot is a tar in gzip. Each node makes its part, a gzip member with tar entries and no end of archive; the node
that was asked puts a head before them and an end behind them, and looks into none of them for its content.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from typing import Final

FORMAT: Final = 1
ROOT: Final = "safekit-snapshot"
MANIFEST: Final = f"{ROOT}/manifest.json"
NODES: Final = f"{ROOT}/nodes"
FACTS: Final = "facts.json"
DAEMON: Final = "daemon.json"
"""In place of the facts: what could be told of a node whose daemon does not answer."""
JOURNAL: Final = "journal.jsonl"
LEFT_OUT: Final = "left-out.json"
MODE: Final = 0o600

ARCHIVE_BYTES: Final = 12 << 20
"""Of the whole, compressed. In base64 it is an answer of safekitd."""
MEMBER_BYTES: Final = 64 << 20
PLAIN_BYTES: Final = 512 << 20
"""Of all that is read of a snapshot, not compressed."""
MEMBERS: Final = 20_000
JOURNAL_BYTES: Final = 48 << 20
"""Of a node's journal, the newest entries."""
LOG_BYTES: Final = 1 << 20
"""Of the end of a log."""
LOGS: Final = 40
FILE_BYTES: Final = 256 << 10
"""A larger file of a configuration is named, with its size and digest."""
COMMAND_BYTES: Final = 512 << 10
COMMAND_S: Final = 4.0
PART_S: Final = 40.0
"""How long a node may take for its part."""
_PLACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}(/[A-Za-z0-9_.@+-][A-Za-z0-9_.@+ -]{0,254}){1,20}")


def is_place(name: str) -> bool:
    """Whether a member may be called so: below its root, and nowhere else."""
    return bool(_PLACE.fullmatch(name)) and name.startswith(f"{ROOT}/") and ".." not in name.split("/")


def entry(name: str, content: bytes) -> bytes:
    """A file as tar has it: the same content gives the same bytes, whoever makes it and when."""
    return head(name, len(content)) + content + padding(len(content))


def head(name: str, size_bytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, MODE
    return info.tobuf(tarfile.PAX_FORMAT)


def padding(size_bytes: int) -> bytes:
    return b"\0" * (-size_bytes % tarfile.BLOCKSIZE)


def packed(data: bytes) -> bytes:
    """One gzip member, without a time or a name in its head."""
    found = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=found, mtime=0) as file:
        file.write(data)
    return found.getvalue()


END: Final = b"\0" * (2 * tarfile.BLOCKSIZE)
