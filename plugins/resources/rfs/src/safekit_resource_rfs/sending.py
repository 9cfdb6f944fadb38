"""What a primary's machine asks for beside what both roles do."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from safekit_resource_rfs import effects
from safekit_resource_rfs.changes import Entry
from safekit_resource_rfs.compare import Local
from safekit_resource_rfs.inquiring import Inquirer, Inquiry
from safekit_resource_rfs.performing import Performer, errno_of
from safekit_resource_rfs.sender import Sender

_LOG: Final = logging.getLogger(__name__)


class Sending(Performer):
    """The primary's."""

    def __init__(self, machine: Sender, forget_slots: Callable[[], None], **others: Any) -> None:
        super().__init__(machine, **others)
        self.machine = machine
        self.inquirer = Inquirer()
        self._waiting: list[asyncio.Future[None]] = []
        self.handlers |= {
            effects.Release: self._release,
            effects.Wake: self._wake,
            effects.ForgetSlots: lambda _: forget_slots(),
            effects.NamesHere: self._read_names,
            effects.EntriesHere: self._read_entries,
            effects.HandleHere: self._read_handle,
            effects.ReadHere: self._read,
            effects.XattrsHere: self._read_xattrs,
        }

    def take(self, message: Any) -> None:
        if isinstance(message, Inquiry):
            self.inquirer.take(message.content)
        else:
            self.machine.received(message, self._loop.time())
            self.act()

    def part(self, reason: str) -> None:
        super().part(reason)
        self.inquirer.end()

    def _release(self, effect: effects.Release) -> None:
        for token in effect.tokens:
            if token is not None:
                try:
                    token()
                except Exception:
                    _LOG.exception("a defect: an application was not answered")

    def wait(self) -> asyncio.Future[None]:
        """Done at the next Wake. One for each waiter, as a waiter may be cancelled."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        return future

    def _wake(self, _: effects.Wake) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def refuse(self, number: int) -> None:
        """Whoever waits gets this error."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_exception(OSError(number, os.strerror(number)))

    def _read_names(self, effect: effects.NamesHere) -> None:
        def then(found: Sequence[bytes] | None, failure: OSError | None) -> None:
            self.machine.names_read(effect.id, errno_of(failure), found or ())

        self.soon(lambda local: local.entry_names(effect.path), then, at_once=False)

    def _read_entries(self, effect: effects.EntriesHere) -> None:
        def then(found: Sequence[Entry] | None, failure: OSError | None) -> None:
            self.machine.entries_read(effect.id, errno_of(failure), found or ())

        self.soon(lambda local: _entries(local, effect.path, effect.names), then, at_once=True)

    def _read_handle(self, effect: effects.HandleHere) -> None:
        def then(found: bytes | None, failure: OSError | None) -> None:
            self.machine.handle_read(effect.id, errno_of(failure), found or b"")

        self.soon(lambda local: local.handle(effect.path), then, at_once=True)

    def _read(self, effect: effects.ReadHere) -> None:
        def then(found: Any, failure: OSError | None) -> None:
            self.machine.data_read(effect.id, errno_of(failure), found or ())

        def work(local: Local) -> Any:
            return local.read(effect.path, effect.offset, effect.length)

        self.soon(work, then, at_once=effect.at_once)

    def _read_xattrs(self, effect: effects.XattrsHere) -> None:
        def then(found: Mapping[bytes, bytes] | None, failure: OSError | None) -> None:
            self.machine.xattrs_read(effect.id, errno_of(failure), found or {})

        self.soon(lambda local: local.xattrs(effect.path), then, at_once=True)


def _entries(local: Local, path: bytes, names: Sequence[bytes]) -> list[Entry]:
    """Of the directory under an empty name, and of those names that exist."""
    own = replace(local.entry(path), name=b"")
    if not stat.S_ISDIR(own.mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return [own, *local.entries(path, names)]
