"""How good an installed plugin package is, as far as a command can see: `safekit plugins check`."""

from safekit.plugins.quality.criteria import CRITERIA, Criterion, Tier
from safekit.plugins.quality.judging import Judgement, Outcome, judge, reached
from safekit.plugins.quality.subject import Subject, gather

__all__ = ["CRITERIA", "Criterion", "Judgement", "Outcome", "Subject", "Tier", "gather", "judge", "reached"]
