"""Whose the definition is: one file beside the disks, the same on both nodes; libvirt keeps none beyond a run.

A domain that libvirt keeps defined could be started past safekit, on a node whose directory is not replicated at that
time. So it is taken over by the first start, and what `virsh edit` makes while the guest runs is taken over too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safekit_resource_kvm_vm.config import KvmVmConfig
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.libvirt import Libvirt
from safekit_sdk import ConfigError


@dataclass(frozen=True, slots=True)
class Ownership:
    config: KvmVmConfig
    libvirt: Libvirt
    state_dir: Path
    log: Callable[[str], None]

    async def definition(self) -> Definition:
        """The one to start from. What libvirt has of its own on this node is taken over, or set aside."""
        kept = await self.libvirt.persistent()
        try:
            ours = Definition.read(self.config.definition)
        except FileNotFoundError:
            if kept is None:
                raise ConfigError(
                    f"{self.config.definition} is not there, and libvirt knows no '{self.config.domain}' here",
                    hint="start the module first on the node that has the guest, or write the definition there",
                ) from None
            return await self._take_over(kept)
        if ours.name != self.config.domain:
            raise ConfigError(
                f"it defines '{ours.name}', not '{self.config.domain}'",
                where=str(self.config.definition),
                hint="correct `domain:`",
            )
        if kept is not None:
            await self._set_aside(kept, ours)
        return ours

    async def _take_over(self, kept: Definition) -> Definition:
        taken = kept.taken_over(autostart=await self.libvirt.is_autostarted())
        await asyncio.to_thread(taken.write, self.config.definition)
        await self.libvirt.forget()
        self.log(f"{kept.name} is taken over from libvirt: its definition is {self.config.definition} from now on")
        return taken

    async def _set_aside(self, kept: Definition, ours: Definition) -> None:
        if not kept.is_like(ours):
            aside = self.state_dir / f"{kept.name}.set-aside.xml"
            kept.write(aside)
            self.log(
                f"libvirt had another definition of {kept.name} on this node; {self.config.definition} counts, "
                f"the other is kept in {aside}"
            )
        await self.libvirt.forget()

    async def take_edit(self) -> None:
        """While the guest runs here: what `virsh edit` or `virsh define` made is the definition of the next start."""
        kept = await self.libvirt.persistent()
        if kept is None:
            return
        before = Definition.read(self.config.definition)
        if not kept.is_like(before):
            edited = kept.taken_over(autostart=before.was_autostarted)
            await asyncio.to_thread(edited.write, self.config.definition)
            self.log(f"{self.config.definition} has what was edited in libvirt; it counts from the next start on")
        await self.libvirt.forget()
