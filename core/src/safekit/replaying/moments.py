"""What a history tells of one module, as the engine of the node was told it."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from safekit.engine import NodeState
from safekit.engine.actions import Explain
from safekit.engine.events import Configured, Event, HeartbeatHeard
from safekit.engine.reports import Heartbeat
from safekit.journal import Entry
from safekit.journal.codec import load_decision, load_event, load_state
from safekit_sdk import ConfigError

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A heartbeat that differs from the one before it by what is here."""

    peer: str
    network: str
    sequence: int
    age_s: float
    """How long before this node had sent what the peer says it heard last; infinite where it does not say so."""

    def heartbeat(self, node: NodeState, at_s: float) -> HeartbeatHeard | None:
        """For an engine that knows this of the peer; None where it knows no such peer."""
        known = node.membership.peers.get(self.peer)
        if known is None or known.incarnation < 0:
            return None
        echoes = () if math.isinf(self.age_s) else ((node.name, known.echo[0], at_s - self.age_s),)
        beat = Heartbeat(
            self.peer,
            known.incarnation,
            self.sequence,
            known.seen,
            ((node.name, known.hears_us),) if known.hears_us >= 0 else (),
            known.time_s,
            echoes,
            known.lost_after_s,
        )
        return HeartbeatHeard(self.network, beat)


@dataclass(frozen=True, slots=True)
class Moment:
    at_s: float
    """Of the node's monotonic clock; comparable within one incarnation."""
    wall: float
    incarnation: int
    what: Event | Arrival | NodeState | Explain | None
    """What the engine was told; the state in which it was before what follows; what it decided; None: the node ran."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Time in which the node did not run, or its loop did not."""

    incarnation: int
    since_s: float
    until_s: float


class _Beats(BaseModel):
    """The body of an entry of arrivals."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    peer: str
    network: str
    ms: list[int]
    sequence: int | list[int]
    age: list[int] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        numbers = self.sequence if isinstance(self.sequence, list) else self.ms
        if not len(self.ms) == len(numbers) == len(self.age or self.ms):
            raise ValueError("there are not as many of each")
        return self

    def arrivals(self) -> Iterator[tuple[float, Arrival]]:
        """Seconds after the entry's time, in order."""
        first = self.sequence
        numbers = first if isinstance(first, list) else range(first, first + len(self.ms))
        unsaid = itertools.repeat(math.inf, len(self.ms))
        for offset_ms, number, age_ms in zip(self.ms, numbers, self.age or unsaid, strict=True):
            yield offset_ms / 1000, Arrival(self.peer, self.network, number, age_ms / 1000)


class _Pause(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    since: float


def moments(entries: Iterable[Entry], module: str, gap_s: Callable[[], float]) -> Iterator[Moment]:
    """In order. Of other modules nothing; of arrivals only as many as leave no gap longer than `gap_s` where there was
    none, and the last one before anything else. ConfigError for what this version cannot read."""
    beats: list[Entry] = []
    kept_s: dict[tuple[int, str, str], float] = {}
    for entry in entries:
        if entry.kind == "beats" and (not beats or beats[0].mono == entry.mono):
            beats.append(entry)
            continue
        yield from _arrivals(beats, gap_s(), kept_s)
        beats = [entry] if entry.kind == "beats" else []
        if not beats and entry.module in {"", module}:
            yield _moment(entry, module)
    yield from _arrivals(beats, gap_s(), kept_s)


def pauses(entries: Iterable[Entry]) -> list[Pause]:
    return [Pause(entry.incarnation, _read(_Pause, entry).since, entry.mono) for entry in entries]


def _arrivals(beats: list[Entry], gap_s: float, kept_s: dict[tuple[int, str, str], float]) -> Iterator[Moment]:
    """Of all peers and networks in one second. `kept_s`: when that of each was that was kept last."""
    each = [[(entry, *found) for found in _needed(entry, gap_s, kept_s)] for entry in beats]
    for entry, offset_s, arrival in heapq.merge(*each, key=lambda found: found[1]):
        yield Moment(entry.mono + offset_s, entry.wall + offset_s, entry.incarnation, arrival)


def _needed(entry: Entry, gap_s: float, kept_s: dict[tuple[int, str, str], float]) -> Iterator[tuple[float, Arrival]]:
    said = _read(_Beats, entry)
    key = entry.incarnation, said.peer, said.network
    each = list(said.arrivals())
    for (offset_s, arrival), (later_s, _) in zip(each, [*each[1:], (math.inf, None)], strict=True):
        if entry.mono + later_s - kept_s.get(key, -math.inf) > gap_s:
            kept_s[key] = entry.mono + offset_s
            yield offset_s, arrival


def _read(model: type[M], entry: Entry) -> M:
    try:
        return model.model_validate_json(entry.body)
    except ValidationError as error:
        raise _unreadable(entry, error) from None


def _moment(entry: Entry, module: str) -> Moment:
    try:
        what = _what(entry)
    except (ValueError, KeyError) as error:
        raise _unreadable(entry, error) from None
    return Moment(entry.mono, entry.wall, entry.incarnation, _only(what, module))


def _unreadable(entry: Entry, error: Exception) -> ConfigError:
    text = " ".join(str(error).split())[:300]
    return ConfigError(
        f"entry {entry.id} of the history cannot be read ({entry.kind} {entry.type}): {text}",
        hint="another version of safekit wrote it; replay it with that one, or begin after the upgrade with --since",
    )


def _what(entry: Entry) -> Event | NodeState | Explain | None:
    if entry.kind == "quiet":
        return None
    if entry.kind == "state":
        return load_state(entry.body)
    if entry.kind == "decision":
        return load_decision(entry.body)
    return load_event(entry.type, entry.body)


def _only(what: Event | NodeState | Explain | None, module: str) -> Event | NodeState | Explain | None:
    """No module decides by what another one does: one alone is enough."""
    if isinstance(what, NodeState):
        modules = {name: found for name, found in what.modules.items() if name == module}
        recalled = {name: found for name, found in what.recalled.items() if name == module}
        return replace(what, modules=modules, recalled=recalled)
    if isinstance(what, Configured):
        return replace(what, modules=tuple(spec for spec in what.modules if spec.name == module))
    return what
