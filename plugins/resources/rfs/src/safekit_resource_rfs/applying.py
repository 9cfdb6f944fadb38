"""What a secondary's machine asks for beside what both roles do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from safekit_resource_rfs import effects
from safekit_resource_rfs.changes import Entry
from safekit_resource_rfs.compare import Pages
from safekit_resource_rfs.inquiring import Inquiry, Respondent, encode
from safekit_resource_rfs.performing import Performer, errno_of
from safekit_resource_rfs.receiver import Receiver
from safekit_resource_rfs.replica import Replica


class Receiving(Performer):
    """The secondary's."""

    def __init__(self, machine: Receiver, replica: Replica, **others: Any) -> None:
        super().__init__(machine, **others)
        self.machine = machine
        self._replica = replica
        self._pages = Pages(replica)
        self._respondent = Respondent(replica)
        self.handlers |= {
            effects.Apply: self._apply,
            effects.StartSync: self._start_sync,
            effects.ListHere: self._list,
            effects.ForgetSlots: lambda _: replica.forget_slots(),
            effects.XattrsHere: self._read_xattrs,
        }

    def take(self, message: Any) -> None:
        if not isinstance(message, Inquiry):
            self.machine.received(message, self._loop.time())
        elif self.link:
            self.link.send(encode(self._respondent.answer(message.content)))

    def _list(self, effect: effects.ListHere) -> None:
        def then(found: tuple[Sequence[Entry], bool] | None, failure: OSError | None) -> None:
            self.machine.listed(effect.id, errno_of(failure), *(found or ((), True)))

        self.soon(lambda _: self._pages.list(effect.path, effect.after, effect.names), then, at_once=True)

    def _apply(self, effect: effects.Apply) -> None:
        try:
            self._replica.apply(effect.change, keep_aside=effect.aside)
        except OSError as error:
            self.machine.applied(effect.seq, errno_of(error), str(error))
        else:
            self.machine.applied(effect.seq, 0)

    def _start_sync(self, effect: effects.StartSync) -> None:
        def then(_: object, failure: OSError | None) -> None:
            self.machine.synced(effect.seq, errno_of(failure))

        try:
            work = self._replica.sync(effect.change)
        except OSError as error:
            then(None, error)
        else:
            self.later(self._means.disk, work, then)

    def _read_xattrs(self, effect: effects.XattrsHere) -> None:
        def then(found: Mapping[bytes, bytes] | None, failure: OSError | None) -> None:
            self.machine.xattrs_read(effect.id, errno_of(failure), tuple(found or ()))

        self.soon(lambda local: local.xattrs(effect.path), then, at_once=True)
