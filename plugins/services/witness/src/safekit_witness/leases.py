"""Who may run a module: the pure decisions of one witness. Time comes in, what must be kept goes out.

A lease is given to another node only when GUARD times its length has passed by the clock of the witness since it was
given or renewed. A holder that counts from before it asked, on a clock up to a tenth slow, is over by then even when
the witness's clock is a tenth fast: GUARD >= 1.1 / 0.9.

A record that was read from the disk is not *sure*: the disk may be old, or empty. Until the witness has run for GUARD
times the length of a lease, nothing that is not sure is given away; a node that says its lease has not run out makes
the record sure, because then no other node can have one.

To whom which epoch was given is not forgotten when the lease runs out or is given back, and not over what is given to
others since: who asks may name the greatest epoch that it knows of, and is refused where another node had a greater."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from safekit_witness.messages import (
    MAX_EPOCH,
    Acquire,
    Done,
    Event,
    Granted,
    Join,
    Probe,
    Refused,
    Release,
    Renew,
    Reply,
    Told,
    Undo,
)
from safekit_witness.past import NO_PAST, Past, unknown

GUARD: Final = 1.25
MAX_CLUSTERS: Final = 256
MAX_MODULES: Final = 1024
"""Of one cluster. A module that was ever leased counts: its epoch is not forgotten."""


@dataclass(frozen=True, slots=True)
class Record:
    """What must survive the witness."""

    node: str
    """Empty when it was given back."""
    epoch: int
    greatest: int
    """Of all epochs ever given; greater than `epoch` when the lease came by a Join."""
    ttl_s: float
    """The longest that this node was promised and that may still count."""
    past: Past = NO_PAST
    """What was given before this one; all that was given, when there is none."""

    def ended(self) -> Record:
        """The same when no node has it any more."""
        return replace(self, node="", past=self.past.also(self.node, self.epoch)) if self.node else self

    def given_to_others(self, node: str) -> tuple[str, int]:
        """The greatest epoch that any node but this one was given, and to whom."""
        return self.ended().past.to_others_than(node)


@dataclass(frozen=True, slots=True)
class Entry:
    record: Record
    until_s: float
    """By the witness's clock; nobody else gets it before."""
    sure: bool

    def is_of(self, node: str, epoch: int) -> bool:
        return (self.record.node, self.record.epoch) == (node, epoch)

    def keeps_out(self, node: str, now_s: float) -> bool:
        return self.record.node not in ("", node) and now_s < self.until_s


@dataclass(frozen=True, slots=True)
class Outcome:
    entry: Entry | None
    reply: Reply
    must_keep: bool
    """Whether the record has to be durable before the reply is given."""


@dataclass(frozen=True, slots=True)
class Now:
    """When it is, by the clock of the witness."""

    now_s: float
    started_s: float
    longest_s: float = 0.0
    """The longest lease on record in the cluster; what an old disk has forgotten was hardly longer."""

    def quiet_for_s(self, ttl_s: float) -> float:
        """How long nothing is given away that is not sure; negative when that is over."""
        return self.started_s + GUARD * max(ttl_s, self.longest_s) - self.now_s


def restored(record: Record, started_s: float) -> Entry:
    """What was given before the start counts in full from the start."""
    return Entry(record, started_s + GUARD * record.ttl_s, sure=False)


def step(entry: Entry | None, event: Event, now: Now) -> Outcome:
    """What becomes of one module; None is one that is not known."""
    match event:
        case Acquire():
            after, reply = _acquire(entry, event, now)
        case Renew():
            after, reply = _renew(_vouched(entry, event, now), event, now)
        case Release():
            after, reply = _release(_vouched(entry, event, now), event)
        case Undo():
            after, reply = _undo(entry, event)
        case Join():
            after, reply = _join(entry, event, now)
        case Probe():
            after, reply = entry, Told(text=describe(entry, now))
    return Outcome(after, reply, (after and after.record) != (entry and entry.record))


def _acquire(entry: Entry | None, event: Acquire, now: Now) -> tuple[Entry | None, Reply]:
    if refusal := _quiet(entry, event.ttl_s, now) or _kept_out(entry, event.node, now) or _unaware(entry, event):
        return entry, refusal
    greatest = entry.record.greatest if entry else 0
    epoch = max(event.epoch, greatest + 1)
    if epoch > MAX_EPOCH:
        return entry, Refused(reason="the epochs of this module are used up", greatest=greatest)
    former = entry is not None and entry.record.node == event.node and now.now_s < entry.until_s
    after = _given(entry, event.node, epoch, event.ttl_s, now)
    return after, Granted(epoch=epoch, ttl_s=event.ttl_s, former=former)


def _join(entry: Entry | None, event: Join, now: Now) -> tuple[Entry | None, Reply]:
    if refusal := _kept_out(entry, event.node, now):
        return entry, refusal
    greatest = entry.record.greatest if entry else 0
    if greatest != event.seen:
        return entry, Refused(reason="another lease was given meanwhile", greatest=greatest)
    after = _given(entry, event.node, event.epoch, event.ttl_s, now)
    return after, Granted(epoch=event.epoch, ttl_s=event.ttl_s, former=True)


def _renew(entry: Entry | None, event: Renew, now: Now) -> tuple[Entry | None, Reply]:
    if entry is None or not entry.sure:
        why = "the witness was started anew and cannot know whether this is still the last lease; acquire another one"
        return entry, Refused(reason=why, greatest=entry.record.greatest if entry else 0)
    if not entry.is_of(event.node, event.epoch):
        wait_s = max(0.0, entry.until_s - now.now_s) if entry.keeps_out(event.node, now.now_s) else 0.0
        reason = f"epoch {event.epoch} is not the last one, or was given back: {describe(entry, now)}"
        return entry, Refused(reason=reason[:600], wait_s=wait_s, greatest=entry.record.greatest)
    after = _given(entry, event.node, event.epoch, event.ttl_s, now)
    return after, Granted(epoch=event.epoch, ttl_s=event.ttl_s, former=True)


def _release(entry: Entry | None, event: Release) -> tuple[Entry | None, Reply]:
    """What is not sure stays so: only who says that its lease has not run out knows that it is the last one."""
    if entry is None or not entry.is_of(event.node, event.epoch):
        return entry, Done()
    return replace(entry, record=entry.record.ended()), Done()


def _undo(entry: Entry | None, event: Undo) -> tuple[Entry | None, Reply]:
    if entry is None or not entry.is_of(event.node, event.epoch):
        return entry, Done()
    return replace(entry, record=replace(entry.record, node="")), Done()


def _vouched(entry: Entry | None, event: Renew | Release, now: Now) -> Entry | None:
    """Who has a lease that has not run out is the only one, and its epoch the last: more than the disk knows, which
    may also have forgotten to whom any epoch below was given."""
    if not event.held or (entry is not None and entry.sure):
        return entry
    if entry is not None and entry.is_of(event.node, event.epoch):
        return replace(entry, sure=True)
    if entry is not None and event.epoch <= entry.record.greatest:
        return entry
    ttl_s = event.ttl_s if isinstance(event, Renew) else now.longest_s
    record = Record(event.node, event.epoch, event.epoch, ttl_s, unknown(below=max(0, event.epoch - 1)))
    return Entry(record, now.now_s + GUARD * ttl_s, sure=True)


def _given(entry: Entry | None, node: str, epoch: int, ttl_s: float, now: Now) -> Entry:
    """A lease of the same node that has not run out goes on counting: the node may never hear of this one."""
    until_s = now.now_s + GUARD * ttl_s
    if entry is None:
        return Entry(Record(node, epoch, epoch, ttl_s), until_s, sure=True)
    former = entry.record
    if former.node == node and now.now_s < entry.until_s:
        until_s = max(until_s, entry.until_s)
        ttl_s = max(ttl_s, former.ttl_s)
    past = former.past if entry.is_of(node, epoch) else former.ended().past
    return Entry(Record(node, epoch, max(epoch, former.greatest), ttl_s, past), until_s, sure=True)


def _quiet(entry: Entry | None, ttl_s: float, now: Now) -> Refused | None:
    left_s = now.quiet_for_s(ttl_s)
    if left_s <= 0 or (entry is not None and entry.sure):
        return None
    reason = f"the witness was started {now.now_s - now.started_s:.1f} s ago; a lease from before may still count"
    return Refused(reason=reason, wait_s=left_s, greatest=entry.record.greatest if entry else 0)


def _kept_out(entry: Entry | None, node: str, now: Now) -> Refused | None:
    if entry is None or not entry.keeps_out(node, now.now_s):
        return None
    left_s = entry.until_s - now.now_s
    return Refused(reason=describe(entry, now), wait_s=left_s, greatest=entry.record.greatest)


def _unaware(entry: Entry | None, event: Acquire) -> Refused | None:
    if entry is None or event.after is None:
        return None
    who, epoch = entry.record.given_to_others(event.node)
    if epoch <= event.after:
        return None
    reason = f"{who or 'another node'} had it since, with epoch {epoch}: {event.node} may lack what was written then"
    return Refused(reason=reason, greatest=entry.record.greatest)


def describe(entry: Entry | None, now: Now) -> str:
    """For people."""
    if entry is None:
        return "no node has had it"
    record = entry.record
    if not record.node:
        return f"no node has it; the last epoch was {record.epoch}"
    if entry.until_s <= now.now_s:
        return f"the lease of {record.node} (epoch {record.epoch}) has run out"
    return f"{record.node} has it (epoch {record.epoch})"


class Leases:
    """The modules of all clusters, bounded."""

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self._clusters: dict[str, dict[str, Entry]] = {}

    def restore(self, cluster: str, module: str, record: Record) -> None:
        self._clusters.setdefault(cluster, {})[module] = restored(record, self.started_s)

    def decide(self, cluster: str, module: str, event: Event, now_s: float) -> Outcome:
        """What would become of it; nothing has changed yet."""
        modules = self._clusters.get(cluster, {})
        entry = modules.get(module)
        full = len(modules) >= MAX_MODULES or (not modules and len(self._clusters) >= MAX_CLUSTERS)
        if entry is None and full and not isinstance(event, Probe | Release | Undo):
            reason = f"this witness keeps {MAX_MODULES} modules of a cluster and {MAX_CLUSTERS} clusters, and is full"
            return Outcome(None, Refused(reason=reason), must_keep=False)
        longest_s = 0.0 if entry is not None and entry.sure else self._longest_s(cluster, now_s)
        return step(entry, event, Now(now_s, self.started_s, longest_s))

    def _longest_s(self, cluster: str, now_s: float) -> float:
        """Only asked for in the first hours, when it can still count."""
        if now_s > self.started_s + 3 * 3600:
            return 0.0
        return max((entry.record.ttl_s for entry in self._clusters.get(cluster, {}).values()), default=0.0)

    def accept(self, cluster: str, module: str, entry: Entry | None) -> None:
        """Make an outcome's entry the present one; None forgets it."""
        if entry is None:
            self._clusters.get(cluster, {}).pop(module, None)
        else:
            self._clusters.setdefault(cluster, {})[module] = entry

    def get(self, cluster: str, module: str) -> Entry | None:
        return self._clusters.get(cluster, {}).get(module)

    def forget(self, cluster: str) -> None:
        self._clusters.pop(cluster, None)

    def all(self) -> list[tuple[str, str, Entry]]:
        return [(c, m, entry) for c, modules in sorted(self._clusters.items()) for m, entry in sorted(modules.items())]
