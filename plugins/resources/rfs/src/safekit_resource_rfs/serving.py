"""One replicated directory on one node: the mount, the durable state, the connection, and the role."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from safekit_resource_rfs import kept, plan
from safekit_resource_rfs.claims import read_claim, write_claim
from safekit_resource_rfs.disk import sync_filesystem
from safekit_resource_rfs.exclusion import Exclusion
from safekit_resource_rfs.generations import Durable, is_trusted
from safekit_resource_rfs.keys import Identity, read_place, write_place
from safekit_resource_rfs.leftovers import clear_dead
from safekit_resource_rfs.marks import Marks
from safekit_resource_rfs.mount import Mount
from safekit_resource_rfs.performing import Means
from safekit_resource_rfs.replica import Replica
from safekit_resource_rfs.roles import DISK_THREADS, Primary, Secondary, a_pool
from safekit_resource_rfs.sender import State
from safekit_resource_rfs.settings import Settings
from safekit_resource_rfs.storage import Storage
from safekit_resource_rfs.transport import Dialer, Link, Listener
from safekit_resource_rfs.verifying import Verification
from safekit_sdk import ConfigError

_LOG: Final = logging.getLogger(__name__)
SETTLE_S: Final = 10.0
"""What a graceful demotion waits for the other node to have everything."""
FORCED_SETTLE_S: Final = 0.5
PRUNE_S: Final = 3600.0
LOOK_S: Final = 10.0
"""What a look at a mount may take, that nobody may answer for."""
CONSENT: Final = "may-overwrite"
"""A file in the state directory: the operator said that what is here may be overwritten."""


class DataPath:
    """Made by `open`. Its methods are called one at a time, but for those that only look."""

    def __init__(self, settings: Settings, mount: Mount, storage: Storage, durable: Durable, marks: Marks) -> None:
        self.settings = settings
        self.config = settings.config
        self.mount = mount
        self.root_fd = os.dup(mount.root_fd)
        """The real directory; it is needed a little longer than the mount."""
        self.storage = storage
        self.identity = Identity(settings.state_dir)
        self.peer_node = ""
        self.failure = ""
        """Why this node cannot go on."""
        self.last_event = ""
        self.changed: Callable[[], None] = lambda: None
        """Called when the status may have changed."""
        exclusion = Exclusion(self.config.exclude)
        self.means = Means(
            storage=storage,
            marks=marks,
            root_fd=self.root_fd,
            here=Replica(self.root_fd, exclusion=exclusion),
            beside=Replica(self.root_fd, exclusion=exclusion),
            files=a_pool(1, "files"),
            disk=a_pool(DISK_THREADS, "disk"),
            reading=a_pool(1, "reading"),
        )
        self.dialer = Dialer(self.identity, self._join, self.config.timeout.seconds)
        self.listener = Listener(
            self.identity,
            self.config.listen,
            self.config.port,
            self._is_serving,
            self._join,
            self.config.timeout.seconds,
        )
        self.primary: Primary | None = None
        self.secondary: Secondary | None = self._a_secondary(durable)
        self.blocked = ""
        """Why the directory is not synchronised although it could be."""
        self._addresses: list[tuple[str, int]] = []
        self._peer_key = b""
        self.verification: Verification | None = None
        """The last comparison."""
        self._verifying: asyncio.Task[None] | None = None
        self._demoted = asyncio.Event()
        self._is_stopping = False
        mount.ended.add_done_callback(self._miss_mount)

    @classmethod
    async def open(cls, settings: Settings) -> DataPath:
        """The directory is covered when it returns."""
        directory = settings.config.directory
        is_writeback = settings.config.mode == "writeback"
        exclusion = Exclusion(settings.config.exclude)
        storage = Storage(settings.state_dir / "durable")
        durable, log = storage.load()
        durable = durable.opened(_boot_id())
        storage.store(durable)
        await asyncio.wait_for(asyncio.to_thread(clear_dead, directory), LOOK_S)
        mount = await Mount.open(
            directory, _notice(""), a_pool(4, "mount"), is_writeback=is_writeback, exclusion=exclusion
        )
        try:
            plan.claim(mount.root_fd, directory, settings.module, settings.name)
            return cls(settings, mount, storage, durable, Marks(log))
        except BaseException:
            await mount.close(lazy=True)
            raise

    @property
    def durable(self) -> Durable:
        role = self.primary or self.secondary
        assert role
        return role.durable

    @property
    def _consent(self) -> Path:
        return self.settings.state_dir / CONSENT

    @property
    def place(self) -> str:
        return write_place(self.listener.port, self.identity.public, write_claim(self.durable))

    @property
    def link(self) -> Link | None:
        role = self.primary or self.secondary
        return role.performer.link if role else None

    # What the engine says

    async def promote(self, epoch: int, *, alone: bool) -> None:
        if self.primary:
            if alone and self.durable.generation.epoch != epoch:
                await self.primary.stand_alone(epoch)
            return
        self.dialer.stop()
        secondary = self.secondary
        assert secondary
        await secondary.close()
        self.secondary = None
        primary = Primary(secondary.durable, self.means, self.config, self.mount, self._note, self._parted)
        self.primary = primary
        try:
            await primary.begin(epoch, alone=alone)
        except ConfigError as error:
            raise ConfigError(f"{error.message}: {self.last_event}", hint=error.hint) from None
        self.changed()

    async def demote(self, *, force: bool) -> None:
        if self.primary is None:
            return
        primary = self.primary
        if self._verifying:
            self._verifying.cancel()
        if not force:
            await self._settle()
        self._demoted.clear()
        primary.end()
        if primary.performer.link:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._demoted.wait(), FORCED_SETTLE_S if force else SETTLE_S)
        await self.mount.cover(_notice(self.peer_node))
        await primary.performer.close()
        self.primary = None
        self.secondary = self._a_secondary(primary.durable)
        self._dial()
        self.changed()

    async def _settle(self) -> None:
        """What the kernel's cache holds of the mount, and times of modification. A primary that holds its
        acknowledgements may never get to it; it can be demoted all the same, unless data would be lost."""
        try:
            await asyncio.wait_for(self.mount.settle(), SETTLE_S)
        except (OSError, TimeoutError) as error:
            if self.config.mode == "writeback":
                raise ConfigError(
                    f"what programs wrote to {self.config.directory} could not be replicated: {error!r}",
                    hint="see `safekit rfs status`; by force it is given up",
                ) from None
            _LOG.warning("not everything that the kernel holds is written: %r", error)

    async def stand_alone(self, epoch: int) -> None:
        if self.primary is None:
            raise ConfigError("this node is not primary for its data; it cannot stand alone")
        await self.primary.stand_alone(epoch)
        self.changed()

    def pair(self) -> None:
        if self.primary is None:
            raise ConfigError("this node is not primary for its data; it cannot be paired")
        self.primary.pair()

    async def meet(self, node: str, addresses: list[str], place: str) -> None:
        """Where the other node is; the place is empty while it does not run."""
        if node != self.peer_node and self.secondary:
            await self.mount.cover(_notice(node))
        self.peer_node = node
        if not place:
            return
        port, key, claim = read_place(place)
        await self._weigh(read_claim(claim))
        found = ([(address, port) for address in addresses], key)
        is_new = found != (self._addresses, self._peer_key)
        self._addresses, self._peer_key = found
        self.listener.trust(key)
        if is_new or self.link is None:
            self._dial()

    async def _weigh(self, other: Durable | None) -> None:
        """A node in doubt goes on when no other can have more than it."""
        secondary, prefer_own = self.secondary, self.settings.node < self.peer_node
        if other is None or secondary is None or not is_trusted(self.durable, other, prefer_own=prefer_own):
            return
        await secondary.close()
        durable = replace(secondary.durable, doubt=False)
        await asyncio.to_thread(self.storage.store, durable)
        self.secondary = self._a_secondary(durable)
        self.last_event = "both nodes lost their memory; this one has the best data that there are"
        _LOG.info(self.last_event)
        self.changed()

    async def stop(self, *, force: bool) -> None:
        """OSError EBUSY while programs use the mount, unless by force; the directory stays covered then."""
        await self.demote(force=force)
        self._is_stopping = True
        try:
            await self.mount.close(lazy=force)
        except OSError:
            self._is_stopping = False
            raise
        self.dialer.stop()
        self.listener.close()
        secondary = self.secondary
        assert secondary
        await secondary.close()
        await asyncio.to_thread(self._seal, secondary.durable)

    def _seal(self, durable: Durable) -> None:
        """Everything is on the disk, and that it is too."""
        sync_filesystem(self.root_fd)
        self.storage.store(durable.closed())
        self.storage.close()
        os.close(self.root_fd)

    # The connection

    def _is_serving(self) -> bool:
        return self.primary is not None and self.primary.sender.state is not State.IDLE

    def _join(self, link: Link) -> None:
        role = self.primary or self.secondary
        if role is None:
            link.close()
            return
        role.performer.join(link)
        self.changed()

    def _parted(self, reason: str) -> None:
        if reason:
            _LOG.warning("disconnected: %s", reason)
        if self.secondary and self.link is None:
            self.dialer.released()
        self.changed()

    def reconnect(self) -> None:
        """Give up the connection; the secondary makes a new one."""
        role = self.primary or self.secondary
        if role:
            role.performer.part("it was asked for")

    def _dial(self) -> None:
        if self.secondary is None or not self._addresses:
            return
        self.blocked = self._why_not()
        if self.blocked:
            self.dialer.stop()
        else:
            self.dialer.dial(self._addresses, self._peer_key)

    def _why_not(self) -> str:
        """A directory that was never synchronised and has content may be the wrong one."""
        may = self.config.first_sync == "overwrite" or self._consent.exists() or self.durable.generation.id
        if may or not self._has_content():
            return ""
        return (
            f"{self.config.directory} of this node was never synchronised and is not empty; look at it, then "
            f"`safekit rfs sync {self.settings.module} --from-primary` here lets it be overwritten"
        )

    def _has_content(self) -> bool:
        with os.scandir(f"/proc/self/fd/{self.mount.root_fd}") as entries:
            return any(entry.name not in (plan.OWN_FOLDER, "lost+found") for entry in entries)

    def resynchronise(self, *, full: bool) -> None:
        """Through a new connection."""
        if self.primary is None:
            raise ConfigError("this node is not primary", hint="ask the other node")
        self.primary.sender.allow(unrelated=True, full=full)
        self.reconnect()

    def verify(self) -> None:
        """Begin a comparison, unless one goes on. What differs is marked, for the next resynchronisation."""
        primary = self.primary
        if primary is None or primary.sender.state is not State.PAIRED:
            raise ConfigError(
                "a comparison is begun on the primary while both nodes are paired",
                hint="`safekit rfs status` on both nodes says how it stands",
            )
        if self.verification is None or self._verifying is None or self._verifying.done():
            self.verification = primary.verification()
            self._verifying = asyncio.get_running_loop().create_task(self._verify(primary, self.verification))

    async def _verify(self, primary: Primary, verification: Verification) -> None:
        await verification.run()
        await primary.mark(difference.path for difference in verification.differences)
        self.changed()

    @property
    def is_verifying(self) -> bool:
        return self._verifying is not None and not self._verifying.done()

    async def allow_overwriting(self) -> None:
        self._consent.touch(mode=0o600)
        self._dial()
        self.changed()

    # What happens

    def _a_secondary(self, durable: Durable) -> Secondary:
        return Secondary(durable, self.means, self.config, self._note, self._parted)

    def _note(self, event: str, text: str) -> None:
        """What a machine reports."""
        self.last_event = text
        if event == "demoted":
            self._demoted.set()
        elif event == "behind":
            self._consent.touch(mode=0o600)  # a first synchronisation that is broken off leaves content
        elif event == "disk":
            self.failure = text
        self.changed()

    def _miss_mount(self, _: object) -> None:
        if not self._is_stopping:
            self.failure = f"the mount over {self.config.directory} is gone: somebody unmounted it"
        self.changed()

    def prune(self) -> None:
        oldest_s = time.time() - self.config.keep_aside.seconds
        kept.prune(self.mount.root_fd, oldest_s, self.config.keep_aside_size)


def _notice(peer: str) -> bytes:
    where = f"the node {peer}" if peer else "the other node"
    return (
        "This directory is replicated by safekit, and this node is not its primary.\n"
        f"The data are served by {where}; `safekit rfs status` says more. Nothing can be written here.\n"
    ).encode()


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
