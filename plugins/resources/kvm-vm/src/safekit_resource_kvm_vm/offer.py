"""What a machine offers to a guest that comes to it while it runs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from safekit_resource_kvm_vm.libvirt import Libvirt
from safekit_sdk import ConfigError
from safekit_sdk.control import AsyncControlClient, ErrorBody, raise_body

WORD: Final = "kvm"
"""Of this package's command, by which safekitd of another node finds its agent."""
ASK_S: Final = 15.0
_PROCESSOR: Final = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")


class Question(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    uri: str = Field(max_length=600)
    directory: Path


class Offer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    kind: str = Field(max_length=64)
    """Equal where the processor, libvirt and QEMU are."""
    memory_bytes: int
    room_bytes: int
    """In the directory."""

    def lacks(self, other: Offer, memory_bytes: int, room_bytes: int) -> str:
        """Why a guest of the other machine cannot come; empty when it can."""
        if self.kind != other.kind:
            return "the nodes differ in processor, libvirt or QEMU"
        if min(self.room_bytes, other.room_bytes) < room_bytes:
            return f"a node's directory has no room for {room_bytes >> 20} MiB"
        return "" if self.memory_bytes > memory_bytes else "the other node has not enough memory free"


async def look(question: Question) -> Offer:
    """At this machine."""
    done = await Libvirt(question.uri, "").virsh("version")
    if not done.ok:
        raise ConfigError(f"libvirt does not answer: {done.errors.strip() or done.why()}", hint="does libvirtd run?")
    kind = hashlib.sha256(f"{_processor()}\n{done.output.strip()}".encode()).hexdigest()[:32]
    found = os.statvfs(question.directory)
    return Offer(kind=kind, memory_bytes=_available_bytes(), room_bytes=found.f_bavail * found.f_frsize)


async def ask(socket: Path, node: str, question: Question) -> Offer:
    """Another node, through both nodes' safekitd."""
    request = {"word": WORD, "request": question.model_dump(mode="json"), "timeout_s": ASK_S}
    given = {"op": "agent", "args": request, "nodes": [node], "timeout_s": ASK_S}
    answer = (await AsyncControlClient(socket).call("fan", given, timeout_s=ASK_S + 5.0))[node]
    if error := answer.get("error"):
        raise_body(ErrorBody.model_validate(error))
    return Offer.model_validate(answer["result"])


def _processor() -> str:
    first = _read("/proc/cpuinfo").split("\n\n", 1)[0].splitlines()
    return "\n".join(line for line in first if line.split(":")[0].strip() in _PROCESSOR)


def _available_bytes() -> int:
    line = next(line for line in _read("/proc/meminfo").splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) << 10


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")
