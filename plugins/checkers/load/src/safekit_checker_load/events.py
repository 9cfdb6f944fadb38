"""Counters that only grow, looked at now and then: what happened since the first look, for as long as it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Events:
    """What was counted before the first look is past: a module is not restarted twice because of it."""

    def __init__(self, names: tuple[str, ...], read: Callable[[], Mapping[str, int]], hold_s: float) -> None:
        self._names = names
        self._read = read
        self._hold_s = hold_s
        self._before: Mapping[str, int] | None = None
        self._seen: dict[str, tuple[int, float]] = {}
        """How many were seen in one stretch, and when the last."""

    def look(self, now_s: float) -> dict[str, int]:
        """The events that are told at the moment, with their number. BlindError as `read` raises it."""
        now = self._read()
        before = now if self._before is None else self._before
        for name in self._names:
            if new := _grown(before.get(name, 0), now.get(name, 0)):
                self._seen[name] = (self._seen.get(name, (0, 0.0))[0] + new, now_s)
        self._before = now
        self._seen = {name: seen for name, seen in self._seen.items() if now_s - seen[1] < self._hold_s}
        return {name: count for name, (count, _) in self._seen.items()}


def _grown(before: int, now: int) -> int:
    """A counter that is smaller than before is another one, of a new cgroup, and began at 0."""
    return now - before if now >= before else now
