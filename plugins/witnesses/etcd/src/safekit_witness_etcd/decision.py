"""What may be written, decided from what was seen in one revision of etcd. No input or output happens here.

Whatever is decided is written in one transaction that happens only if neither key was written since."""

from __future__ import annotations

from dataclasses import dataclass

from safekit_witness_etcd.wire import Holder, Last


@dataclass(frozen=True, slots=True)
class Seen:
    """The two keys of a module in one revision; a mod revision is 0 where there is no key."""

    revision: int
    holder: Holder | None = None
    holder_mod: int = 0
    lease: int = 0
    """The lease of etcd's that the holder's key has."""
    last: Last | None = None
    last_mod: int = 0

    def is_current(self, node: str, epoch: int) -> bool:
        """Whether this epoch is the last one that was given, to this node, and was not released."""
        last = self.last
        return last is not None and (last.node, last.epoch, last.released) == (node, epoch, False)


@dataclass(frozen=True, slots=True)
class Give:
    """Write the holder; also the last epoch where it is a new one."""

    holder: Holder
    last: Last | None = None


@dataclass(frozen=True, slots=True)
class Deny:
    reason: str


def to_acquire(seen: Seen, node: str, epoch: int, after: int | None = None) -> Give | Deny:
    """A greater epoch than all before, at least the one asked for and at least etcd's revision, so that one who
    deleted the keys does not make it go back. Not when another node was given a greater one than `after`."""
    if seen.holder and seen.holder.node != node:
        return Deny(f"{seen.holder.node} has it, with epoch {seen.holder.epoch}")
    others = seen.last.given_to_others(node) if seen.last else 0
    if seen.last and after is not None and others > after:
        who = "another node" if seen.last.node == node else seen.last.node
        return Deny(f"{who} had it since, with epoch {others}: {node} may lack what was written then")
    before = max(one.epoch for one in (seen.holder, seen.last, Holder(node=node, epoch=0)) if one)
    new = max(epoch, before + 1, seen.revision)
    return Give(Holder(node=node, epoch=new), Last(node=node, epoch=new, others=others))


def to_renew(seen: Seen, node: str, epoch: int) -> Give | Deny:
    """Also when the holder's key is gone because it ran out, as long as nobody had the right since."""
    wanted = Holder(node=node, epoch=epoch)
    if seen.is_current(node, epoch) and seen.holder in (None, wanted):
        return Give(wanted)
    if seen.holder and seen.holder != wanted:
        return Deny(f"epoch {epoch} of {node} is over: {seen.holder.node} has it, with epoch {seen.holder.epoch}")
    if seen.last is None:
        return Deny(f"epoch {epoch} of {node} is not known: the keys of this module were deleted")
    was_released = (seen.last.node, seen.last.epoch, seen.last.released) == (node, epoch, True)
    gone = "it was released" if was_released else f"epoch {seen.last.epoch} was given to {seen.last.node}"
    return Deny(f"epoch {epoch} of {node} is over: {gone}")
