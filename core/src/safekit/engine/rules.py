"""Failover rules as trees, and their evaluation. `safekit.config.rules` reads them from text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Test:
    """`[local.|remote.]class.ident == value`. `*` as ident: every one; `?`: any one."""

    side: str
    resource_class: str
    ident: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    term: Expression


@dataclass(frozen=True, slots=True)
class All:
    terms: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Any:
    terms: tuple[Expression, ...]


Expression = Test | Not | All | Any


@dataclass(frozen=True, slots=True)
class Rule:
    label: str
    condition: Expression
    action: str
    """stop, stopstart, wait, restart or swap."""
    text: str = ""
    hold_s: float = 0.0
    """How long the condition must hold before the rule acts (`for 5s`)."""
    origin: str = ""
    """Where it stands: a file and line, or the plugin that brought it."""
