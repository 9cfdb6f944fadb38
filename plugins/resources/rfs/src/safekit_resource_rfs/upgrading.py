"""An upgrade of the data path under a mount that lives: rehearsed, then one pause in which nothing is read from the
kernel and nothing is on its way, then the new program in this process.

Up to the last step everything can be taken back, and the old program goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn

from safekit_resource_rfs import handover
from safekit_resource_rfs.handover import State
from safekit_resource_rfs.sender import State as Link
from safekit_resource_rfs.serving import DataPath
from safekit_resource_rfs.settings import SETTINGS
from safekit_sdk import ConfigError

PAUSE_S: Final = 1.0
"""At most, of one try to have nothing under way."""
TRIES: Final = 5
BETWEEN_S: Final = 0.3
_LOOK_S: Final = 0.001
_LATER: Final = "try again in a while: safekit rfs upgrade"


class Upgrade:
    """`lock_fd` and `control_fd` belong to the process, and go with it."""

    def __init__(self, path: DataPath, lock_fd: int, control_fd: int) -> None:
        self._path = path
        self._descriptors = (lock_fd, control_fd)

    async def prepare(self) -> None:
        """ConfigError when it cannot be done now; everything goes on as before then. After it nothing is served until
        `finish`."""
        self._require_calm_state()
        await handover.rehearse(self._state(), self._settings)
        self._path.comparisons.cancel()
        for _ in range(TRIES):
            self._path.mount.hold_back()
            if await self._becomes(lambda: self._is_quiet):
                await self._part()
                return
            self._path.mount.go_on()
            await asyncio.sleep(BETWEEN_S)
            self._require_calm_state()
        raise ConfigError("something waits for a disk or for the other node all the time", hint=_LATER)

    def finish(self) -> NoReturn:
        handover.become(self._state(), self._settings)

    @property
    def _settings(self) -> str:
        return str(self._path.settings.run_dir / SETTINGS)

    def _require_calm_state(self) -> None:
        path = self._path
        if path.failure:
            raise ConfigError(f"not while this node cannot go on: {path.failure}", hint="mend that first")
        if path.primary and (path.primary.sender.state is Link.HOLDING or path.primary.sender.is_broken):
            raise ConfigError("not while writes wait for the other node", hint=_LATER)

    @property
    def _is_quiet(self) -> bool:
        path = self._path
        return path.primary.is_calm if path.primary else not path.mount.pending

    @staticmethod
    async def _becomes(condition: Callable[[], bool]) -> bool:
        end_s = asyncio.get_running_loop().time() + PAUSE_S
        while not condition():
            if asyncio.get_running_loop().time() > end_s:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    async def _part(self) -> None:
        """The other node connects again; a secondary then goes on in the stream where it was."""
        path = self._path
        path.listener.hold_back()
        path.dialer.stop()
        role = path.primary or path.secondary
        assert role
        role.performer.part("another version of the data path takes over")
        await role.performer.quiet()

    def _state(self) -> State:
        path = self._path
        lock_fd, control_fd = self._descriptors
        node, addresses, place = path.told
        return State(
            format=handover.FORMAT,
            program=handover.RUNNING,
            lock_fd=lock_fd,
            control_fd=control_fd,
            listener_fds=path.listener.descriptors,
            mount=path.mount.state,
            primary=path.primary.state if path.primary else None,
            secondary=path.secondary.state if path.secondary else None,
            peer_node=node,
            addresses=addresses,
            place=place,
            waits_for_calendar=path.schedule.opening.waits_until_s is not None,
            last_event=path.last_event,
        )
