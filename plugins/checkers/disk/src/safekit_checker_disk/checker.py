"""Up while a file system has room, can be written to, and answers."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from safekit_checker_disk.config import DiskConfig, least
from safekit_checker_disk.prober import BlindError, Found, Prober, StalledError
from safekit_sdk import Checker, Context, Verdict

_SEEN_DOWN = {
    *("ENOSPC", "EDQUOT", "EROFS", "EIO", "ENOENT", "ENXIO", "ENODEV", "ENOMEDIUM", "EREMOTEIO", "ESTALE", "ENOTCONN"),
    *("ECONNABORTED", "ETIMEDOUT", "EHOSTDOWN", "EUCLEAN", "EBADMSG", "ESHUTDOWN"),
}
"""Errors that a file system gives that is full, broken or gone. All others (a missing right) are the checker's."""


class DiskChecker(Checker[DiskConfig], api=1):
    """Up while a file system has free space and inodes, can be written to, and answers in time."""

    facts: ClassVar[Mapping[str, str]] = {
        "path": "what was looked at",
        "free": "the part that is free, and its size",
        "free_inodes": "the part of the inodes that is free, where the file system has them",
        "write_ms": "how long a write of a few bytes and its fsync took",
        "error": "why it could not be looked at",
    }

    def __init__(self, config: DiskConfig, context: Context) -> None:
        super().__init__(config, context)
        self._prober = Prober(config.path, self._file if config.writable else None)

    @property
    def _file(self) -> Path:
        """Of a name that no other node, module or checker writes to on a shared file system."""
        whose = "\0".join((self.context.node, self.context.module, self.context.name))
        return self.config.path / f".safekit-disk-{hashlib.sha256(whose.encode()).hexdigest()[:16]}"

    async def check(self) -> Verdict:
        path, loop = self.config.path, asyncio.get_running_loop()
        began_s = loop.time()
        try:
            found = await self._prober.look(self.config.stall.seconds)
        except BlindError as blind:
            return Verdict.unknown(f"{path}: {blind}")
        except StalledError as stalled:
            took_s = loop.time() - began_s
            if took_s > self.config.timeout.seconds:
                return Verdict.unknown(f"{path}: {stalled}; but this node stood still, the look took {took_s:.1f} s")
            return Verdict.down(f"{path}: {stalled}", path=str(path), error=str(stalled))
        return self._judge(found)

    def _judge(self, found: Found) -> Verdict:
        path = self.config.path
        wrong = [*self._states(found), *self._shortages(found)]
        error = str(found.get("error", ""))
        if error in _SEEN_DOWN or error == "ENOTDIR":
            wrong.append(_sentence(error, str(found["told"])))
        facts = {"path": str(path), **_facts(found)}
        if wrong:
            return Verdict.down(f"{path}: {'; '.join(wrong)}", **facts)
        if error:
            return Verdict.unknown(f"{path} could not be looked at: {str(found['told']).lower()}")
        return Verdict.up(f"{path}: {facts['free']} free", **facts)

    def _states(self, found: Found) -> list[str]:
        if "mounted" not in found:
            return []
        wrong = []
        if self.config.mounted and not found["mounted"]:
            wrong.append("nothing is mounted there")
        if self.config.writable and found["read_only"]:
            wrong.append("it is mounted read-only")
        return wrong

    def _shortages(self, found: Found) -> list[str]:
        if "mounted" not in found:
            return []
        available, whole = _number(found, "available"), _number(found, "used") + _number(found, "available")
        inodes, free_inodes = _number(found, "inodes"), _number(found, "free_inodes")
        wrong = []
        if available < least(self.config.min_free, whole):
            wrong.append(f"{_part(available, whole)} ({_size(available)}) free, wanted {self.config.min_free}")
        if inodes and free_inodes < least(self.config.min_free_inodes, inodes):
            part = _part(free_inodes, inodes)
            wrong.append(f"{part} ({free_inodes}) of its inodes free, wanted {self.config.min_free_inodes}")
        return wrong

    async def close(self) -> None:
        await self._prober.end()

    @classmethod
    def ident(cls, config: DiskConfig) -> str:
        """`var_lib_pgsql`; `root` for `/`."""
        text = re.sub(r"[^A-Za-z0-9_.-]+", "_", str(config.path)).strip("_")
        return config.name or (text if re.match("[A-Za-z0-9_]", text) else f"_{text}" if text else "root")[:63]


def _sentence(error: str, told: str) -> str:
    return {
        "ENOENT": "there is no such directory",
        "ENOTDIR": "it is not a directory",
        "EROFS": "it cannot be written to: read-only",
        "ENOSPC": "it cannot be written to: no space left",
    }.get(error, told.lower())


def _number(found: Found, key: str) -> int:
    value = found[key]
    assert isinstance(value, int)
    return value


def _facts(found: Found) -> dict[str, str]:
    if "mounted" not in found:
        return {}
    available = _number(found, "available")
    facts = {"free": f"{_part(available, available + _number(found, 'used'))} ({_size(available)})"}
    if found["inodes"]:
        facts["free_inodes"] = _part(_number(found, "free_inodes"), _number(found, "inodes"))
    if isinstance(found.get("write_ms"), float):
        facts["write_ms"] = f"{found['write_ms']:.1f}"
    return facts


def _part(some: int, whole: int) -> str:
    return f"{100 * some / whole:.1f}%" if whole else "0.0%"


def _size(size_bytes: int) -> str:
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} B"
