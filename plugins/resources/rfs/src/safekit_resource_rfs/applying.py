"""What a secondary's machine asks for beside what both roles do."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from safekit_resource_rfs import effects
from safekit_resource_rfs.changes import Entry, Sync
from safekit_resource_rfs.compare import Pages
from safekit_resource_rfs.inquiring import Inquiry, Respondent, encode
from safekit_resource_rfs.performing import Performer, errno_of
from safekit_resource_rfs.receiver import Receiver
from safekit_resource_rfs.replica import Replica
from safekit_resource_rfs.syncing import Syncer

_LOG: Final = logging.getLogger(__name__)


class Receiving(Performer):
    """The secondary's."""

    def __init__(self, machine: Receiver, replica: Replica, **others: Any) -> None:
        super().__init__(machine, **others)
        self.machine = machine
        self._replica = replica
        self._pages = Pages(replica)
        self._syncer = Syncer(self._means.disk)
        self._respondent = Respondent(replica)
        self.handlers |= {
            effects.Apply: self._apply,
            effects.StartSync: self._start_sync,
            effects.ListHere: self._list,
            effects.ForgetSlots: lambda _: replica.forget_slots(),
            effects.XattrsHere: self._read_xattrs,
        }

    def take(self, message: Any) -> None:
        """What comes together is applied together, and answered in one message where that says it all."""
        if not isinstance(message, Inquiry):
            self.machine.received(message, self._loop.time())
            return
        self.act()  # it asks for what the directory is after the changes before it
        if self.link:
            self.link.send(encode(self._respondent.answer(message.content)))

    async def close(self) -> None:
        await super().close()
        self._syncer.close()

    def _list(self, effect: effects.ListHere) -> None:
        def then(found: tuple[Sequence[Entry], bool] | None, failure: OSError | None) -> None:
            self.machine.listed(effect.id, errno_of(failure), *(found or ((), True)))

        self.soon(lambda _: self._pages.list(effect.path, effect.after, effect.names), then, at_once=True)

    def _apply(self, effect: effects.Apply) -> None:
        try:
            self._replica.apply(effect.change, keep_aside=effect.aside)
        except OSError as error:
            self.machine.applied(effect.seq, errno_of(error), str(error))
        except Exception as error:
            was_paired = self.machine.is_paired
            self.machine.applied(effect.seq, errno.EIO, f"a defect: {error!r}")
            if not was_paired:
                raise
            _LOG.error("a defect", exc_info=error)  # the connection ends when it is on record
        else:
            self.machine.applied(effect.seq, 0)

    def _start_sync(self, effect: effects.StartSync) -> None:
        try:
            fd = self._replica.to_sync(effect.change)
        except OSError as error:
            self.machine.synced(effect.number, errno_of(error))
            return
        is_data = isinstance(effect.change, Sync) and effect.change.data_only
        self.begin()
        self._syncer.sync(fd, partial(self._synced, effect.number), data_only=is_data)
        os.close(fd)

    def _synced(self, number: int, error: int) -> None:
        self.machine.synced(number, error)
        self.act()
        self.end()

    def _read_xattrs(self, effect: effects.XattrsHere) -> None:
        def then(found: Mapping[bytes, bytes] | None, failure: OSError | None) -> None:
            self.machine.xattrs_read(effect.id, errno_of(failure), tuple(found or ()))

        self.soon(lambda local: local.xattrs(effect.path), then, at_once=True)
