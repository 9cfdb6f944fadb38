"""A virtual machine: started where its disks are primary, and stopped when its QEMU is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from safekit_resource_kvm_vm import qemu
from safekit_resource_kvm_vm.config import EDIT_S, END_S, OBSTACLE_S, KvmVmConfig
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.examining import examine
from safekit_resource_kvm_vm.guard import Guard
from safekit_resource_kvm_vm.libvirt import CREATE_S, Libvirt
from safekit_resource_kvm_vm.memory import MemoryFile, Sealed
from safekit_resource_kvm_vm.moving import Departure, Left, is_asked_for, lose, room_bytes
from safekit_resource_kvm_vm.offer import Question, ask, look
from safekit_resource_kvm_vm.ownership import Ownership
from safekit_resource_kvm_vm.qemu import Machine
from safekit_resource_kvm_vm.sources import Sources, doubts
from safekit_resource_kvm_vm.turns import Turn
from safekit_resource_kvm_vm.watching import Watch
from safekit_sdk import (
    ConfigError,
    Context,
    Examination,
    Health,
    RefusedError,
    Resource,
    ResourceState,
    SafekitError,
    Status,
    Verdict,
)
from safekit_sdk.process import open_pidfd, wait_ended
from safekit_sdk.procfs import describe

PRESS_S: Final = 5.0
"""Between two presses of the power button: a guest that boots does not hear the first."""
TERM_S: Final = 3.0
"""For QEMU to write out what it has, after SIGTERM."""
LOOK_S: Final = 0.05
CLEAR_S: Final = 5.0
"""For a memory that is not wanted any more; a replicated directory may hang."""
GONE_S: Final = 3.0
"""For libvirt to say that the domain is gone; the kernel has said that QEMU is."""
GOES_ON: Final = ("swap",)
"""The only cause of a start in which a memory that was sealed is the guest's. In any other one, a takeover too,
somebody may have used the disks since."""
RUN: Final = "SAFEKIT_RUN"
"""Where a node keeps its sockets, /run/safekit unless set; as for all of safekit."""


class KvmVmResource(Resource[KvmVmConfig], api=1):
    """A virtual machine of libvirt whose disks are replicated, never on two nodes at once."""

    live_keys: ClassVar[frozenset[str]] = frozenset(
        {"agent", "interval", "timeout", "fall", "shutdown", "move", "priority", "at_once", "booting"}
    )

    def __init__(self, config: KvmVmConfig, context: Context) -> None:
        super().__init__(config, context)
        self._turn = Turn()
        self._is_well = False
        """By the last verdict."""

    @classmethod
    def ident(cls, config: KvmVmConfig) -> str:
        return config.name or config.domain

    @classmethod
    def examine(cls, config: KvmVmConfig, context: Context, beside: Sequence[KvmVmConfig]) -> Examination:
        return examine(config, context, beside)

    @property
    def _machine(self) -> Machine:
        return Machine(self.config.domain)

    @property
    def _libvirt(self) -> Libvirt:
        return Libvirt(self.config.uri, self.config.domain)

    @property
    def _ownership(self) -> Ownership:
        return Ownership(self.config, self._libvirt, self.context.state_dir, self.context.log)

    @property
    def _memory(self) -> MemoryFile:
        return MemoryFile(self.config.directory, self.config.domain)

    @property
    def _sources(self) -> Sources:
        guard = Guard(self.config, self.context.node)
        return Sources(self.config, self._libvirt, guard, self._mark, self.context.log)

    @property
    def _mark(self) -> Path:
        """Here while the guest may run because of this module, and not by somebody's hand; gone after a boot."""
        return self.context.run_dir / f"kvm-vm.{self.context.name}.started"

    async def start(self) -> None:
        guard = Guard(self.config, self.context.node)
        guard.storage()
        try:
            if await self._runs_already():
                return
            if self.change.action not in GOES_ON:
                await asyncio.to_thread(self._memory.clear)
            definition = await self._ownership.definition()
            if not await self._goes_on(guard):
                await self._boot(guard, definition)
        except Exception:  # one that is cancelled is not to be waited for; the digest holds then
            await self._forget_memory()
            raise

    async def _forget_memory(self) -> None:
        """A start that failed leaves none: what is done to the disks next is not known here."""
        with contextlib.suppress(OSError):
            async with asyncio.timeout(CLEAR_S):
                await asyncio.to_thread(self._memory.clear)

    async def _boot(self, guard: Guard, definition: Definition) -> None:
        await guard.images(definition)
        if found := await asyncio.to_thread(lambda: "; ".join(doubts(definition, self.config.directory))):
            raise RefusedError(found, hint=f"the definition is {self.config.definition}")
        try:
            await self._turn.take(
                _run_dir() / "kvm-turns", self.context.module, self.config.priority, self.config.at_once
            )
            guard.storage()
            await asyncio.to_thread(self._memory.clear)
            await asyncio.to_thread(guard.claim, self.change.epoch)
            self._sources.note(definition.sources)
            await self._libvirt.create(self.config.definition)
            await self._run_alone(guard, definition)
        except BaseException:
            self._turn.give_back()
            raise
        self._turn.keep(self.config.booting.seconds)

    async def _run_alone(self, guard: Guard, definition: Definition) -> None:
        await self._prove(definition)
        guard.storage()
        await self._libvirt.resume()

    async def _goes_on(self, guard: Guard) -> bool:
        """Whether it does with the memory that it had on the other node. It does not boot, so it takes no turn."""
        sealed = self._memory.sealed(guard.last().epoch) if self.change.action in GOES_ON else None
        if sealed is None:
            return False
        try:
            memory = await self._take(guard, sealed)
            self._sources.note(sealed.definition.sources)
            await self._libvirt.restore(memory, self.config.move.seconds + CREATE_S)
            await self._run_alone(guard, sealed.definition)
        except (ConfigError, OSError) as error:
            why = error.message if isinstance(error, ConfigError) else str(error)
            self.context.log(f"{why}: it is booted, what it had not synced is lost")
            await asyncio.to_thread(self._memory.clear)
            await self._end(0.0)
            return False
        await self._forget_memory()
        return True

    async def _take(self, guard: Guard, sealed: Sealed) -> Path:
        await guard.images(sealed.definition)
        if not await asyncio.to_thread(sealed.fits):
            raise ConfigError("the disks have changed since the guest's memory was written")
        await asyncio.to_thread(guard.claim, self.change.epoch)
        return await asyncio.to_thread(self._memory.take, sealed)

    async def _runs_already(self) -> bool:
        """Found again, or what an earlier start left half done is ended. RefusedError for a guest that is not ours."""
        pids = self._machine.pids()
        if not pids:
            return False
        self._refuse_a_stranger(pids)
        state = await self._libvirt.state()
        if state is not None and state.runs:
            await self._note_changes()
            if self._has_its_disks(pids):
                return True
        await self._end(0.0)
        return False

    def _refuse_a_stranger(self, pids: frozenset[int]) -> None:
        if not self._mark.exists():
            raise RefusedError(
                f"{self.config.domain} runs on this node, and not by this module: {describe(pids)}",
                hint=f"shut it down: `virsh shutdown {self.config.domain}`",
            )

    def _has_its_disks(self, pids: frozenset[int]) -> bool:
        """Whether one QEMU has open what the paths of its disks lead to now."""
        images = Definition.read(self.config.definition).images
        return len(pids) == 1 and all(qemu.writes(pid, images) for pid in pids)

    async def _prove(self, definition: Definition) -> None:
        """While the guest does not run yet, and QEMU has its locks: nobody else has the disks."""
        pids = self._machine.pids()
        others = await asyncio.to_thread(qemu.writers, definition.images) - pids
        if others or len(pids) != 1 or not all(qemu.writes(pid, definition.images) for pid in pids):
            await self._end(0.0)
            found = describe(pids | others) or "none"
            raise RefusedError(f"not one QEMU alone has the disks of {self.config.domain} open: {found}")

    async def stop(self, force: bool) -> None:
        self._turn.give_back()
        pids = self._machine.pids()
        if pids:
            self._refuse_a_stranger(pids)
        left = await self._leave() if pids and not force else None
        if pids and not force and left is None:
            await self._shut_down()
        if pids or self._mark.exists():
            await self._end(TERM_S if left is None and not force else 0.0)
        self._mark.unlink(missing_ok=True)
        if left is not None:
            await self.seal(left)

    async def _leave(self) -> Left | None:
        """Its disks, if it stands now, to go on on the other node. Until its memory is sealed only this QEMU could."""
        if (self.change.action, self.change.after) != ("swap", "SECOND"):
            return None
        try:
            async with asyncio.timeout(OBSTACLE_S):
                other = await self._find_other()
                if wrong := await self._take_changes():
                    raise ConfigError(wrong)
            lost = partial(lose, self.context, other)
            return await Departure(self.config, self._libvirt, self._memory, lost).write()
        except (SafekitError, OSError, LookupError, ValueError) as error:
            why = str(error) or "it was not done in time"
            self.context.log(f"{self.config.domain} is shut down and booted on the other node, not moved: {why}")
            return None

    async def _find_other(self) -> str:
        """The node that the running guest can move to. ConfigError says why it is not to."""
        if not self.config.move.seconds:
            raise ConfigError("the module file says `move: 0s`")
        if not self._is_well:
            raise ConfigError("it is not well")
        seen = await self.context.module_states(self.context.module)
        if not is_asked_for(seen[self.context.node].reason):
            raise ConfigError("the swap is to mend something")
        [other] = (node for node, module in seen.items() if module.state == "SECOND" and node != self.context.node)
        question = Question(uri=self.config.uri, directory=self.config.directory)
        definition = await self._libvirt.live_definition()
        here, there = await look(question), await ask(_run_dir() / "control.sock", other, question)
        if why := there.lacks(here, definition.memory_bytes, room_bytes(definition)):
            raise ConfigError(why)
        return other

    async def seal(self, left: Left) -> None:
        """QEMU is gone. Without the seal the guest boots, as after a power cut."""
        epoch = Guard(self.config, self.context.node).last().epoch
        try:
            await asyncio.to_thread(self._memory.seal, epoch, left.definition, left.standing)
        except (ConfigError, OSError) as error:
            self.context.log(f"{self.config.domain} is booted on the other node, as after a power cut: {error}")

    async def _shut_down(self) -> None:
        """By the power button, within its bound. A guest that is stopped or has crashed does not hear it."""
        pid = self._machine.pid()
        pidfd = open_pidfd(pid) if pid is not None else None
        if pidfd is None:
            return
        try:
            await self._note_changes()
            if not await self._obeys(pidfd):
                self.context.log(f"{self.config.domain} did not shut down within {self.config.shutdown}: switched off")
        except ConfigError as error:
            self.context.log(f"{self.config.domain} is switched off: {error.message}")
        finally:
            os.close(pidfd)

    async def _obeys(self, pidfd: int) -> bool:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.config.shutdown.seconds
        while (left_s := deadline_s - loop.time()) > 0:
            state = await self._libvirt.state()
            if state is None or not state.runs:
                return await wait_ended(pidfd, min(left_s, 1.0))
            await self._libvirt.press_power_button()
            if await wait_ended(pidfd, min(left_s, PRESS_S)):
                return True
        return False

    async def _end(self, grace_s: float) -> None:
        """Until the kernel has no QEMU of it and libvirt no domain, so that no start that was asked for comes late."""
        deadline_s = asyncio.get_running_loop().time() + END_S
        while True:
            await self._machine.end(grace_s)
            try:
                state = await self._libvirt.state(GONE_S)
            except ConfigError as error:
                self.context.log(f"QEMU has ended; {error.message}")
                return
            if (state is None or state.word == "shut off") and not self._machine.pids():
                return
            if asyncio.get_running_loop().time() > deadline_s:
                raise ConfigError(f"libvirt still has {self.config.domain}: {state}", hint="look with `virsh list`")
            await self._libvirt.destroy()
            await asyncio.sleep(LOOK_S)

    async def status(self) -> Status:
        pids = self._machine.pids()
        if not pids:
            return Status(ResourceState.STOPPED)
        try:
            state = await self._libvirt.state()
        except ConfigError as error:
            return Status(ResourceState.STARTED, f"{describe(pids)}; {error.message}")
        if not self._mark.exists():
            return Status(ResourceState.FAILED, f"it runs, and not by this module: {describe(pids)}")
        if state is None or not state.runs:
            return Status(ResourceState.FAILED, f"{state or 'unknown to libvirt'}: {describe(pids)}")
        return Status(ResourceState.STARTED, f"{state}, process {min(pids)}")

    async def watch(self) -> AsyncIterator[Verdict]:
        while True:
            pid = self._machine.pid()
            if pid is None:
                yield Verdict.down("its QEMU does not run")
                await asyncio.sleep(self.config.interval.seconds)
                continue
            async with contextlib.aclosing(self._new_watch().verdicts(pid)) as verdicts:
                async for verdict in verdicts:
                    self._is_well = verdict.health is Health.UP
                    yield verdict

    def _new_watch(self) -> Watch:
        try:
            has_agent = Definition.read(self.config.definition).has_agent
        except (OSError, ConfigError):
            has_agent = False
        return Watch(self.config, self._libvirt, has_agent, self._note_changes)

    async def _take_changes(self) -> str:
        """What was edited and what changed in the run is the definition of the next start; what is wrong with it."""
        await self._ownership.take_edit()
        return await self._sources.take()

    async def _note_changes(self) -> str:
        try:
            async with asyncio.timeout(EDIT_S):
                return await self._take_changes()
        except (SafekitError, OSError) as error:
            self.context.log(f"what was changed in libvirt is not taken over yet: {str(error) or 'no answer'}")
            return ""


def _run_dir() -> Path:
    return Path(os.environ.get(RUN, "/run/safekit"))
