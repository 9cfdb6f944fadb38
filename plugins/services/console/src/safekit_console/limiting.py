"""How often one may try: wrong passwords, and requests. In memory, and bounded: who is forgotten begins anew."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from safekit_console.errors import HttpError

MAX_KNOWN: Final = 10_000
FREE_FAILURES: Final = 5
"""So many wrong passwords cost nothing but the time of a hash."""
FIRST_LOCK_S: Final = 10.0
LONGEST_LOCK_S: Final = 900.0
FORGOTTEN_S: Final = 3600.0
NETWORK_FACTOR: Final = 4
"""An address may fail for several users: so many times more often than for one."""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_s: float = 0.0
    locked_until_s: float = 0.0


class LockOut:
    """Of a user seen from an address, and of an address: somebody elsewhere cannot lock a user out of his own desk."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def try_once(self, user: str, address: str) -> None:
        """HttpError 429 while it is locked; then no password is looked at. A try counts as wrong until it has `passed`:
        many at the same moment are no more tries than one after the other."""
        self.refuse_locked(user, address)
        now_s = self._clock()
        for key, factor in zip(_keys(user, address), (1, NETWORK_FACTOR), strict=True):
            self._count(key, factor, now_s)
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def refuse_locked(self, user: str, address: str) -> None:
        """HttpError 429."""
        now_s = self._clock()
        for key in _keys(user, address):
            failures = self._known.get(key)
            if failures and failures.locked_until_s > now_s:
                left_s = failures.locked_until_s - now_s
                raise HttpError(
                    429, "locked", f"too many wrong passwords; try again in {left_s:.0f} s", retry_s=max(left_s, 1.0)
                )

    def _count(self, key: tuple[str, str], factor: int, now_s: float) -> None:
        failures = self._known.pop(key, None) or _Failures()
        if now_s - failures.last_s > FORGOTTEN_S:
            failures = _Failures()
        failures.count, failures.last_s = failures.count + 1, now_s
        beyond = failures.count - FREE_FAILURES * factor
        if beyond >= 0:
            failures.locked_until_s = now_s + min(FIRST_LOCK_S * 2 ** min(beyond, 10), LONGEST_LOCK_S)
        self._known[key] = failures

    def passed(self, user: str, address: str) -> None:
        """It was the right password: of the address, this try does not count."""
        own, whole = _keys(user, address)
        self._known.pop(own, None)
        if (failures := self._known.get(whole)) is not None:
            failures.count -= 1
            if failures.count < FREE_FAILURES * NETWORK_FACTOR:
                failures.locked_until_s = 0.0


def _keys(user: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    network = network_of(address)
    return (user, network), ("", network)


def network_of(address: str) -> str:
    """An IPv6 host has as many addresses as it likes: its /64 counts as one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if found.version == 6 else address


class Pace:
    """A bucket of tokens for each asker: `burst` at once, and `rate` a second."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str) -> None:
        """HttpError 429 when there was too much."""
        now_s = self._clock()
        left, at_s = self._known.pop(who, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._rate)
        self._known[who] = (max(left - 1.0, 0.0), now_s) if left >= 1.0 else (left, now_s)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        if left < 1.0:
            raise HttpError(429, "too-many", "too many requests", retry_s=max((1.0 - left) / self._rate, 1.0))
