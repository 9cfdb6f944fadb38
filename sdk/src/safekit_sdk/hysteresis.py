"""How answers become a health that the rules see: `rise` good ones in a row for up, `fall` bad ones for down.

Pure; the host and the test kit run this same code. What each answer does:

- `up` and `down` each continue their own series and end the other's. A series of `rise` or `fall` answers changes
  the health; until then the health stays what it was, at the beginning `init`.
- `unknown` is no answer: it neither continues nor ends a series, and the health stays. `fall` of them in a row make
  the health unknown, never down, and then the series begin anew.
- `init` is the checker's own word that it knows nothing (yet): the health is init at once, all series begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from safekit_sdk.verdict import Health, Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """The health that was said, and the lengths of the present series; each stops counting at its goal."""

    health: Health = Health.INIT
    good: int = 0
    bad: int = 0
    unknown: int = 0


def judge(standing: Standing, answer: Health, rise: int, fall: int) -> Standing:
    """The standing after one more answer."""
    if answer is Health.INIT:
        return Standing()
    if answer is Health.UNKNOWN:
        unknown = min(standing.unknown + 1, fall)
        return Standing(Health.UNKNOWN, unknown=fall) if unknown == fall else replace(standing, unknown=unknown)
    if answer is Health.UP:
        good = min(standing.good + 1, rise)
        return Standing(Health.UP if good == rise else standing.health, good=good)
    bad = min(standing.bad + 1, fall)
    return Standing(Health.DOWN if bad == fall else standing.health, bad=bad)


class Hysteresis:
    """Remembers the standing of one checker."""

    def __init__(self, rise: int, fall: int) -> None:
        if rise < 1 or fall < 1:
            raise ValueError(f"rise and fall count answers, from 1 on, not {rise} and {fall}")
        self._rise = rise
        self._fall = fall
        self.standing = Standing()

    def feed(self, verdict: Verdict) -> Verdict | None:
        """The verdict to say, the one that completed its series; None while the health stays as it is."""
        before = self.standing.health
        self.standing = judge(self.standing, verdict.health, self._rise, self._fall)
        return verdict if self.standing.health is not before else None
