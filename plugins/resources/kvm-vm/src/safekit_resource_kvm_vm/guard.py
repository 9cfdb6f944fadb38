"""Why a guest may not be started here: each guard holds when the others have failed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safekit_resource_kvm_vm import qemu
from safekit_resource_kvm_vm.config import KvmVmConfig
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.libvirt import clean_environment
from safekit_sdk import ConfigError, RefusedError
from safekit_sdk.process import run
from safekit_sdk.procfs import describe
from safekit_sdk.replicated import is_covered, is_replicated

IMAGE_S: Final = 30.0


class Claim(BaseModel):
    """Who started the guest last: it lies beside the disks, and is on both nodes before QEMU opens them."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    node: str = Field(max_length=128)
    epoch: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Guard:
    config: KvmVmConfig
    node: str

    @property
    def claim_path(self) -> Path:
        return self.config.directory / f".{self.config.domain}.claim"

    def storage(self) -> None:
        """RefusedError unless the directory is the replicated one, and this node its primary."""
        directory = self.config.directory
        if is_covered(directory):
            raise RefusedError(f"{directory} belongs to the other node now", hint="it is started there")
        if self.config.storage == "replicated" and not is_replicated(directory):
            raise RefusedError(
                f"{directory} is not replicated: what the guest wrote would be on this node only",
                hint=f"put `rfs: {{directory: {directory}}}` before this step, or say `storage: shared`",
            )

    def last(self) -> Claim:
        try:
            return Claim.model_validate_json(self.claim_path.read_bytes()[:4096])
        except (FileNotFoundError, ValidationError):
            return Claim(node="", epoch=0)

    def claim(self, epoch: int) -> None:
        """RefusedError when a later start than this one is on the record; epoch 0 has nothing to compare. It may block:
        a write into a replicated directory waits while the other node is silent."""
        before = self.last()
        if 0 < epoch < before.epoch:
            raise RefusedError(
                f"{before.node} started {self.config.domain} in epoch {before.epoch}, later than this start's {epoch}",
                hint=f"only if the module was made anew since: remove {self.claim_path}",
            )
        _write(self.claim_path, json.dumps({"node": self.node, "epoch": epoch or before.epoch}))

    async def images(self, definition: Definition) -> None:
        """Each is in the directory, of the format that the definition says, and open for writing nowhere."""
        wrong = [*misplaced(definition, self.config), *missing(definition)]
        if wrong:
            raise ConfigError("; ".join(wrong), hint=f"mend it in {self.config.definition}, or move the files")
        if others := await asyncio.to_thread(qemu.writers, definition.images):
            raise RefusedError(
                f"the disks of {self.config.domain} are open for writing by {describe(others)}",
                hint="a second writer destroys them: end that first",
            )
        for disk in definition.disks:
            if disk.path is not None and disk.writable:
                await self._ask_image(disk.path, disk.format)

    async def _ask_image(self, path: Path, form: str) -> None:
        """A chain of images must not leave the directory, and its end has to be what QEMU is told that it is."""
        argv = ["qemu-img", "info", "--output=json", "--backing-chain", "-f", form, str(path)]
        done = await run(argv, timeout_s=IMAGE_S, env=clean_environment(), cwd=Path("/"), errors_apart=True)
        if not done.ok:
            raise ConfigError(f"{path}: {done.errors.strip() or done.why()}", hint="is it of another format?")
        for link in json.loads(done.output):
            backing = link.get("full-backing-filename") or link.get("backing-filename")
            if backing and not Path(backing).is_relative_to(self.config.directory):
                raise ConfigError(
                    f"{path} builds on {backing}, which is not in {self.config.directory}",
                    hint="move it there, or make one image of both: `qemu-img rebase -b ''`",
                )


def misplaced(definition: Definition, config: KvmVmConfig) -> Iterator[str]:
    """What the guest writes and the other node would not have, or cannot have."""
    inside = config.directory
    for disk in definition.disks:
        name = f"disk {disk.target}"
        if disk.shared:
            yield f"{name} is shareable: another guest may write it; remove <shareable/>"
        if not disk.writable:
            continue
        if disk.cache == "unsafe":
            yield f"{name} has cache='unsafe': what the guest has synced is not on a disk; make it cache='none'"
        if disk.kind != "file" or disk.path is None:
            yield f"{name} is of type {disk.kind}, which does not move to the other node; make it a file in {inside}"
        elif not lies_in(disk.path, inside):
            yield f"{name} is {disk.path}, outside of {inside}; move it there and correct the definition"
    for path in definition.state_files:
        if not lies_in(path, inside):
            yield f"the firmware's variables are {path}, outside of {inside}; move them there and correct <nvram>"


def lies_in(path: Path, directory: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory))


def missing(definition: Definition) -> Iterator[str]:
    for path in (*definition.images, *(disk.path for disk in definition.disks if not disk.writable)):
        if path is not None and not path.exists():
            yield f"{path} is not there; the definition names it"


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
