"""What differs, and whether it would have been right: by what the record tells of the time after it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from safekit.replaying.acts import Act, Kind

SHORT_S: Final = 60.0
"""A node that went on running and is heard again within this time was not worth a failover; what was bad for a shorter
time and became good by itself was not worth a rule's action."""
ALIKE_S: Final = 0.05
"""And so much more."""


class Outcome(StrEnum):
    SAME = "as recorded"
    NOT = "would not have happened"
    ADDED = "in addition"
    EARLIER = "earlier"
    LATER = "later"
    INSTEAD = "instead"


class Judgement(StrEnum):
    FALSE = "false"
    """Nothing had happened that called for it."""
    JUSTIFIED = "justified"
    MISSED = "missed"
    """It was called for, and would not have been done."""
    OPEN = "open"
    """The record cannot tell."""


@dataclass(slots=True)
class Finding:
    act: Act
    """That of the record; where it has none, of the replay."""
    outcome: Outcome
    by_s: float = 0.0
    """How much earlier or later."""
    other: str = ""
    """What is done in its place."""
    judgement: Judgement = Judgement.OPEN
    evidence: str = ""

    @property
    def is_judged(self) -> bool:
        return bool(self.evidence)

    def judge(self, called_for: bool, evidence: str) -> None:
        right = Judgement.MISSED if self.outcome is Outcome.NOT else Judgement.JUSTIFIED
        self.judgement = right if called_for else Judgement.FALSE
        self.evidence = evidence

    def heard_again(self, incarnation: int, at_s: float) -> None:
        """The node that was lost is there again."""
        gap_s = at_s - self.act.heard_s
        if incarnation != self.act.incarnation:
            self.judge(True, f"{self.act.peer}'s daemon had ended: another one was heard {_span(gap_s)} later")
        elif gap_s < SHORT_S:
            self.judge(False, f"{self.act.peer} was alive: heard again after {_span(gap_s)} without a restart")
        else:
            self.judge(True, f"{self.act.peer} stayed away for {_span(gap_s)}, although it went on running")

    def good_again(self, at_s: float, *, by_itself: bool) -> None:
        """What the rule looks at does not call for it any more."""
        bad_s = at_s - self.act.at_s
        if bad_s >= SHORT_S:
            self.judge(True, f"it stayed so for {_span(bad_s)}")
        elif by_itself:
            self.judge(False, f"good again by itself after {_span(bad_s)}")
        else:
            self.evidence = f"good again after {_span(bad_s)}, by what was done or by itself"

    def never_again(self, until_s: float) -> None:
        """The record ends, or that of this incarnation of the daemon."""
        if self.act.kind is Kind.RULE:
            self.judge(True, f"it stayed so for {_span(until_s - self.act.at_s)}, until the record ends")
        else:
            silent_s = until_s - self.act.heard_s
            self.judge(True, f"{self.act.peer} stayed away for {_span(silent_s)}, until the record ends")


def paired(recorded: Act, supposed: Act, interval_s: float) -> Finding:
    """One of each, for the same reason. What is decided in one interval is decided at the same time."""
    by_s = supposed.at_s - recorded.at_s
    if supposed.kind is Kind.RETREAT and recorded.kind is Kind.FAILOVER:
        return Finding(recorded, Outcome.NOT, other=supposed.what)
    if supposed.kind is Kind.FAILOVER and recorded.kind is Kind.RETREAT:
        return Finding(supposed, Outcome.ADDED)
    if recorded.what != supposed.what:
        return Finding(recorded, Outcome.INSTEAD, by_s, supposed.what)
    if abs(by_s) <= interval_s + ALIKE_S:
        return Finding(recorded, Outcome.SAME)
    return Finding(recorded, Outcome.LATER if by_s > 0 else Outcome.EARLIER, abs(by_s))


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
