"""One replicated directory on one node: the mount, the durable state, the connection, and the role."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import Final

from safekit_resource_rfs import kept
from safekit_resource_rfs.claims import read_claim, write_claim
from safekit_resource_rfs.comparing import Comparisons
from safekit_resource_rfs.connection import Link
from safekit_resource_rfs.consent import Consent
from safekit_resource_rfs.cover import write_notice
from safekit_resource_rfs.disk import sync_filesystem
from safekit_resource_rfs.exclusion import Exclusion
from safekit_resource_rfs.generations import Durable, is_trusted
from safekit_resource_rfs.handover import PrimaryState, SecondaryState
from safekit_resource_rfs.handover import State as HandedOver
from safekit_resource_rfs.keys import Identity, read_place, write_place
from safekit_resource_rfs.marks import Marks
from safekit_resource_rfs.mount import Mount
from safekit_resource_rfs.performing import Means
from safekit_resource_rfs.replica import Replica
from safekit_resource_rfs.roles import DISK_THREADS, Primary, Secondary, a_pool
from safekit_resource_rfs.schedule import Schedule
from safekit_resource_rfs.sender import State
from safekit_resource_rfs.settings import Settings
from safekit_resource_rfs.storage import Storage
from safekit_resource_rfs.transport import Dialer, Listener
from safekit_resource_rfs.verifying import Verification
from safekit_sdk import ConfigError

_LOG: Final = logging.getLogger(__name__)
SETTLE_S: Final = 10.0
"""What a graceful demotion waits for the other node to have everything."""
FORCED_SETTLE_S: Final = 0.5
PRUNE_S: Final = 3600.0


class DataPath:
    """Made by `open`. Its methods are called one at a time, but for those that only look."""

    def __init__(
        self,
        settings: Settings,
        mount: Mount,
        storage: Storage,
        durable: Durable,
        marks: Marks,
        state: HandedOver | None = None,
    ) -> None:
        self.settings = settings
        self.config = settings.config
        self.mount = mount
        self.root_fd = os.dup(mount.root_fd)
        """The real directory; it is needed a little longer than the mount."""
        self.storage = storage
        self.identity = Identity(settings.state_dir)
        self.peer_node = ""
        self.other: Durable | None = None
        """What the other node said last of its data."""
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
            state.listener_fds if state else (),
        )
        self.consent = Consent(settings, mount)
        self.told: tuple[str, list[str], str] = ("", [], "")
        """What `meet` was told last."""
        self.primary: Primary | None = None
        self.secondary: Secondary | None = None
        if not (state and state.primary):
            self.secondary = self._a_secondary(durable, state.secondary if state else None)
        self.blocked = ""
        """Why the directory is not synchronised although it could be."""
        self._addresses: list[tuple[str, int]] = []
        self._peer_key = b""
        self.comparisons = Comparisons(self._tell)
        self.schedule = Schedule(self.config, self._verify_by_calendar, self._tell)
        self._demoted = asyncio.Event()
        self._is_stopping = False
        mount.ended.add_done_callback(self._miss_mount)

    def resume(self, durable: Durable, state: PrimaryState) -> None:
        """As primary, where the program before this one was."""
        self.primary = self._a_primary(durable, state.stream)
        self.primary.take_over(state)

    @property
    def durable(self) -> Durable:
        role = self.primary or self.secondary
        assert role
        return role.durable

    @property
    def place(self) -> str:
        return write_place(self.listener.port, self.identity.public, write_claim(self.durable))

    @property
    def link(self) -> Link | None:
        role = self.primary or self.secondary
        return role.performer.link if role else None

    # What the engine says

    async def promote(self, epoch: int, *, alone: bool, joins: bool = False) -> None:
        """`joins`: the node's other directories are primary already. Of one that has no history, nobody has more."""
        begins = joins and not self.durable.generation.id
        alone = alone or begins
        if self.primary:
            if alone and self.durable.generation.epoch != epoch:
                await self.stand_alone(epoch)
            return
        self.dialer.stop()
        secondary = self.secondary
        assert secondary
        await secondary.close()
        self.secondary = None
        self.primary = primary = self._a_primary(secondary.durable)
        has_begun = False
        if alone and secondary.durable.generation.id:
            self.schedule.opening.shut(time.time())  # before the other node can connect
        try:
            await primary.begin(epoch, alone=alone)
            has_begun = True
        except ConfigError as error:
            raise ConfigError(f"{error.message}: {self.last_event}", hint=error.hint) from None
        finally:
            if not has_begun:
                await self._follow_again(primary)
            self.changed()
        if begins:
            self.pair()

    async def demote(self, *, force: bool) -> None:
        if self.primary is None:
            return
        primary = self.primary
        self.comparisons.cancel()
        if not force:
            await self._settle()
        self._demoted.clear()
        primary.end()
        if primary.performer.link:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FORCED_SETTLE_S if force else SETTLE_S):
                    await self._demoted.wait()
        await self._follow_again(primary)
        self.changed()

    async def _follow_again(self, primary: Primary) -> None:
        self.schedule.opening.open()
        await self.mount.cover(write_notice(self.peer_node))
        await primary.performer.close()
        self.primary = None
        self.secondary = self._a_secondary(primary.durable)
        self._dial()

    async def _settle(self) -> None:
        """What the kernel's cache holds of the mount, and times of modification. A primary that holds its
        acknowledgements may never get to it; it can be demoted all the same, unless data would be lost."""
        try:
            async with asyncio.timeout(SETTLE_S):
                await self.mount.settle()
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
        self.schedule.opening.shut(time.time())
        await self.primary.stand_alone(epoch)
        self.changed()

    def pair(self) -> None:
        if self.primary is None:
            raise ConfigError("this node is not primary for its data; it cannot be paired")
        self.primary.pair()

    async def meet(self, node: str, addresses: list[str], place: str) -> None:
        """Where the other node is; the place is empty while it does not run."""
        if node != self.peer_node and self.secondary:
            await self.mount.cover(write_notice(node))
        self.peer_node = node
        self.told = (node, addresses, place)
        if not place:
            return
        port, key, claim = read_place(place)
        self.other = read_claim(claim)
        await self._weigh(self.other)
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
        self.dialer.stop()
        await secondary.close()
        durable = secondary.durable
        lost = "the other node lost its memory" if durable.left else "both nodes lost their memory"
        try:
            await asyncio.to_thread(self.storage.store, durable.trusted())
            durable = durable.trusted()
        finally:
            self.secondary = self._a_secondary(durable)
            self._dial()
        self.last_event = f"{lost}; this one has the best data that there are"
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
        self.schedule.close()
        self.dialer.stop()
        self.listener.close()
        secondary = self.secondary
        assert secondary
        await secondary.leave()
        await secondary.close()
        await asyncio.to_thread(self._seal, secondary.durable)

    def _seal(self, durable: Durable) -> None:
        """Everything is on the disk, and that it is too; where that cannot be written, it is as after a crash."""
        try:
            sync_filesystem(self.root_fd)
            self.storage.store(durable.closed())
        except OSError as error:
            _LOG.warning("it could not be recorded that the disk has everything: %s", error)
        self.storage.close()
        os.close(self.root_fd)

    # The connection

    def _is_serving(self) -> bool:
        state = self.primary.sender.state if self.primary else State.IDLE
        return state is not State.IDLE and not (state is State.ALONE and self.schedule.opening.waits_until_s)

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
        if self.primary:
            self.schedule.opening.parted(time.time())
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
        self.blocked = self.consent.why_not(self.durable)
        if self.blocked:
            self.dialer.stop()
        else:
            self.dialer.dial(self._addresses, self._peer_key)

    def resynchronise(self, *, full: bool) -> None:
        """Through a new connection."""
        if self.primary is None:
            raise ConfigError("this node is not primary", hint="ask the other node")
        self.schedule.opening.open()
        self.primary.sender.allow(unrelated=True, full=full)
        self.reconnect()

    def verify(self) -> None:
        self.comparisons.begin(self.primary)

    @property
    def verification(self) -> Verification | None:
        """The last one."""
        return self.comparisons.latest

    @property
    def is_verifying(self) -> bool:
        return self.comparisons.is_running

    def _verify_by_calendar(self) -> None:
        if self.primary:
            self.verify()

    async def allow_overwriting(self) -> None:
        self.consent.give()
        self._dial()
        self.changed()

    # What happens

    def _tell(self) -> None:
        self.changed()

    def _a_secondary(self, durable: Durable, state: SecondaryState | None = None) -> Secondary:
        return Secondary(durable, self.means, self.config, self._note, self._parted, state)

    def _a_primary(self, durable: Durable, stream: str = "") -> Primary:
        return Primary(durable, self.means, self.config, self.mount, self._note, self._parted, stream)

    def _note(self, event: str, text: str) -> None:
        """What a machine reports."""
        self.last_event = text
        if event == "demoted":
            self._demoted.set()
        elif event == "left" and self.primary:
            self.primary.go_on_alone()
        elif event == "paired" and self.primary:
            self.schedule.opening.paired()
        elif event == "behind":
            self.consent.give()  # a first synchronisation that is broken off leaves content
        elif event == "disk":
            self.failure = text
        elif event == "mended":
            self.failure = ""
        self.changed()

    def _miss_mount(self, _: object) -> None:
        if not self._is_stopping:
            self.failure = f"the mount over {self.config.directory} is gone: somebody unmounted it"
        self.changed()

    def prune(self) -> None:
        oldest_s = time.time() - self.config.keep_aside.seconds
        kept.prune(self.mount.root_fd, oldest_s, self.config.keep_aside_size)
