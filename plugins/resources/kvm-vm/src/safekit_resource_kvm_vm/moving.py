"""How a running guest leaves its node: its memory is written while it runs; it stands for the rest only."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from safekit_resource_kvm_vm.config import GO_ON_S, KvmVmConfig
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.libvirt import Libvirt
from safekit_resource_kvm_vm.memory import MemoryFile, Standing, files, standing
from safekit_sdk import ConfigError, Context, SafekitError

LOOK_S: Final = 0.02
PEER_LOOK_S: Final = 0.5
SETTLE_S: Final = 5.0
"""For QEMU to say how it ended, once it has written the last."""
PIPE_BYTES: Final = 1 << 20
SPARE_BYTES: Final = 256 << 20
"""Of the directory's room, beyond twice the guest's memory: what the guest changes meanwhile is written again."""
_STREAM: Final = "safekit-move"
_ASKED: Final = ("swap: ", "default primary")
"""In the reason for a swap that an operator asked for, or that his choice of a default primary made. Others are rules'.
"""


@dataclass(frozen=True, slots=True)
class Left:
    """What a guest that stands has left behind."""

    definition: Definition
    standing: Standing


def is_asked_for(reason: str) -> bool:
    """Not because something is wrong: a guest that is to be mended is booted, with its trouble it would just move."""
    return reason.startswith(_ASKED[0]) or _ASKED[1] in reason


def room_bytes(definition: Definition) -> int:
    return 2 * definition.memory_bytes + SPARE_BYTES


async def lose(context: Context, node: str) -> str:
    """Why the guest cannot go to that node any more, as soon as safekitd here knows it."""
    while True:
        await asyncio.sleep(PEER_LOOK_S)
        with contextlib.suppress(SafekitError, OSError, LookupError):  # safekitd's silence says nothing of the node
            seen = (await context.module_states(context.module))[node]
            if not seen.heard or seen.state != "SECOND":
                return f"{node} is {seen.state if seen.heard else 'silent'} now, not secondary"


async def _lose_nobody() -> str:
    await asyncio.Event().wait()
    return ""


@dataclass(frozen=True, slots=True)
class Departure:
    config: KvmVmConfig
    libvirt: Libvirt
    file: MemoryFile
    lose: Callable[[], Awaitable[str]] = _lose_nobody
    """Returns when there is nowhere to go any more."""

    async def write(self) -> Left:
        """When it returns the guest stands, its disks are written out, and its memory is in the file, on both nodes.
        SafekitError or OSError when it could not be had: then the guest runs as before."""
        try:
            async with asyncio.timeout(self.config.move.seconds):
                return await self._while_it_can()
        except (SafekitError, OSError):
            await self._go_on()
            raise

    async def _while_it_can(self) -> Left:
        moving = asyncio.ensure_future(self._move())
        losing = asyncio.ensure_future(self.lose())
        try:
            await asyncio.wait((moving, losing), return_when=asyncio.FIRST_COMPLETED)
            if losing.done():
                raise ConfigError(losing.result())
            return moving.result()
        finally:
            moving.cancel()
            losing.cancel()
            await asyncio.gather(moving, losing, return_exceptions=True)

    async def _move(self) -> Left:
        definition = await self.libvirt.live_definition()
        await self._write(definition)
        return await self._settle(definition)

    async def _write(self, definition: Definition) -> None:
        source, sink = os.pipe()
        try:
            fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            await self.libvirt.monitor("getfd", {"fdname": _STREAM}, sink)
            spare = os.dup(source)
        except BaseException:
            os.close(source)
            raise
        finally:
            os.close(sink)
        writing = asyncio.create_task(asyncio.to_thread(self.file.write, definition, source, room_bytes(definition)))
        try:
            await self._migrate()
            await writing
        except asyncio.CancelledError:
            writing.cancel()
            threading.Thread(target=_drain, args=(spare,), daemon=True).start()
            raise
        except BaseException:
            os.close(spare)
            raise
        os.close(spare)

    async def _migrate(self) -> None:
        try:
            await self.libvirt.monitor("migrate", {"uri": f"fd:{_STREAM}"})
        except BaseException:
            with contextlib.suppress(ConfigError):
                await self.libvirt.monitor("closefd", {"fdname": _STREAM})
            raise

    async def _settle(self, definition: Definition) -> Left:
        """Nobody has let the guest go on when what is returned was seen: QEMU says afterwards that it stood. And it
        stood with the disks that it had at the beginning: a snapshot lets it write into other files."""
        async with asyncio.timeout(SETTLE_S):
            while (status := await self._status()) not in ("completed", "failed", "cancelled"):  # noqa: ASYNC110 - no event
                await asyncio.sleep(LOOK_S)
        if status != "completed":
            raise ConfigError(f"QEMU could not write the guest's memory: {status}")
        now = await self.libvirt.live_definition()
        if (now.sources, now.state_files) != (definition.sources, definition.state_files):
            raise ConfigError("its disks are others than when its memory was begun; is a backup making a snapshot?")
        found = standing(files(definition))
        if (state := await self.libvirt.monitor("query-status"))["status"] != "postmigrate":
            raise ConfigError(f"somebody let it go on: it is {state['status']}")
        return Left(definition, found)

    async def _status(self) -> str:
        answer: Any = await self.libvirt.monitor("query-migrate")
        return str(answer.get("status", ""))

    async def _go_on(self) -> None:
        """The guest runs here, whatever had been done; nothing was sealed. What hangs is not waited for: the guest is
        shut down next."""
        with contextlib.suppress(SafekitError, TimeoutError):
            async with asyncio.timeout(GO_ON_S / 2):
                await self._let_run()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(GO_ON_S / 2):
                await asyncio.to_thread(self.file.discard)

    async def _let_run(self) -> None:
        with contextlib.suppress(ConfigError):
            await self.libvirt.monitor("migrate_cancel")
        state = await self.libvirt.state()
        if state is not None and not state.runs:
            await self.libvirt.monitor("cont")


def _drain(stream: int) -> None:
    """A write into the file may hang with the other node. QEMU is not to hang with it: it does not hear that it is to
    stop while the pipe is full."""
    with os.fdopen(stream, "rb", buffering=0) as file:
        while file.read(PIPE_BYTES):
            pass
