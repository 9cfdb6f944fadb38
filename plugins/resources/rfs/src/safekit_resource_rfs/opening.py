"""How a data path begins: over a directory that nobody serves, or in the place of another program that serves it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from safekit_resource_rfs import plan
from safekit_resource_rfs.cover import write_notice
from safekit_resource_rfs.exclusion import Exclusion
from safekit_resource_rfs.handover import State
from safekit_resource_rfs.leftovers import clear_dead
from safekit_resource_rfs.marks import Marks
from safekit_resource_rfs.mount import Mount
from safekit_resource_rfs.roles import a_pool
from safekit_resource_rfs.serving import DataPath
from safekit_resource_rfs.settings import Settings
from safekit_resource_rfs.storage import Storage

LOOK_S: Final = 10.0
"""What a look at a mount may take, that nobody may answer for."""


async def open_anew(settings: Settings) -> DataPath:
    """The directory is covered when it returns."""
    directory = settings.config.directory
    is_writeback = settings.config.mode == "writeback"
    exclusion = Exclusion(settings.config.exclude)
    storage = _storage(settings)
    durable, log = storage.load()
    durable = durable.opened(_boot_id())
    storage.store(durable)
    async with asyncio.timeout(LOOK_S):
        await asyncio.to_thread(clear_dead, directory)
    mount = await Mount.open(
        directory, write_notice(""), a_pool(4, "mount"), is_writeback=is_writeback, exclusion=exclusion
    )
    try:
        plan.claim(mount.root_fd, directory, settings.module, settings.name)
        return DataPath(settings, mount, storage, durable, Marks(log))
    except BaseException:
        await mount.close(lazy=True)
        raise


async def take_over(settings: Settings, state: State) -> DataPath:
    """From the program that was here before; its mount and what was open in it go on."""
    storage = _storage(settings)
    durable, log = storage.load()
    mount = Mount.taken_over(
        settings.config.directory,
        state.mount,
        a_pool(4, "mount"),
        is_writeback=settings.config.mode == "writeback",
        exclusion=Exclusion(settings.config.exclude),
    )
    path = DataPath(settings, mount, storage, durable, Marks(log), state)
    path.last_event = state.last_event
    if state.waits_for_calendar:
        path.schedule.opening.shut(time.time())
    if state.primary:
        path.resume(durable, state.primary)
    await path.meet(state.peer_node, state.addresses, state.place)
    return path


def _storage(settings: Settings) -> Storage:
    return Storage(settings.state_dir / "durable")


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
