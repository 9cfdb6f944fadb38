"""The table of transitions: the documentation's diagram is drawn from it, and the automata run by it.

Phases follow SafeKit 8.2's order of scripts (user guide, section 14).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from safekit.engine.actions import Phase
from safekit.engine.reports import ModuleState

STOP, WAIT, ALONE, PRIM, SECOND, UP = (
    ModuleState.STOP,
    ModuleState.WAIT,
    ModuleState.ALONE,
    ModuleState.PRIM,
    ModuleState.SECOND,
    ModuleState.UP,
)
RUNNING: Final = (ALONE, PRIM, SECOND, UP)
PRIMARY: Final = (ALONE, PRIM, UP)


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    before: tuple[ModuleState, ...]
    after: ModuleState | None
    """None: the state stays."""
    phases: tuple[Phase, ...]
    cause: str
    """The word that scripts get as the action."""
    takes: bool = False
    """The primary's resources start: the epoch grows and is durable before."""
    releases: bool = False
    """When it is done nothing of the primary runs."""
    starts: bool = False
    """It can fail to start; then everything is stopped."""
    doc: str = ""


_T = Phase.TRANSITION
_STOP_ALL: Final = (Phase.STOP_SEC, Phase.STOP_PRIM, Phase.STOP_SECOND, Phase.STOP_BOTH)
STOPPING: Final[dict[ModuleState, tuple[Phase, ...]]] = {
    STOP: _STOP_ALL,
    WAIT: _STOP_ALL,
    ALONE: (Phase.STOP_SEC, Phase.STOP_PRIM, Phase.STOP_BOTH),
    PRIM: (Phase.STOP_PRIM, Phase.STOP_BOTH),
    SECOND: (Phase.STOP_SEC, Phase.STOP_SECOND, Phase.STOP_BOTH),
    UP: (Phase.STOP_BOTH,),
}
"""What a stop walks through, by the state that is left."""

ROWS: Final[dict[str, Row]] = {
    row.name: row
    for row in (
        Row("start", (STOP,), WAIT, (_T, Phase.PRESTART), "start", starts=True, doc="started; looks for its peer"),
        Row(
            "become-alone",
            (WAIT,),
            ALONE,
            (_T, Phase.START_BOTH, Phase.START_PRIM, Phase.START_SEC),
            "start",
            takes=True,
            starts=True,
            doc="nobody else is primary",
        ),
        Row(
            "become-second",
            (WAIT,),
            SECOND,
            (_T, Phase.START_BOTH, Phase.START_SECOND, Phase.START_SEC),
            "start",
            starts=True,
            doc="the peer is primary",
        ),
        Row(
            "become-up",
            (WAIT,),
            UP,
            (_T, Phase.START_BOTH),
            "start",
            takes=True,
            starts=True,
            doc="farm and light: started",
        ),
        Row("joined", (ALONE,), PRIM, (Phase.STOP_SEC, _T, Phase.PAIR), "joined", doc="the peer became secondary"),
        Row(
            "left",
            (PRIM,),
            ALONE,
            (Phase.STAND_ALONE, _T, Phase.START_SEC),
            "left",
            starts=True,
            doc="the peer is secondary no more",
        ),
        Row(
            "takeover",
            (SECOND,),
            ALONE,
            (Phase.STOP_SECOND, _T, Phase.START_PRIM),
            "takeover",
            takes=True,
            starts=True,
            doc="the primary stopped, or was lost",
        ),
        Row(
            "anew",
            (ALONE, PRIM),
            None,
            (Phase.STAND_ALONE,),
            "left",
            starts=True,
            doc="the peer, which stops, stood alone too, in a later epoch",
        ),
        Row("fence", (WAIT, PRIM, SECOND), None, (Phase.FENCE,), "fence", doc="the silent peer is cut off from power"),
        Row("swap-out", (PRIM,), SECOND, (Phase.STOP_PRIM,), "swap", releases=True, doc="swap: the old primary stops"),
        Row(
            "swapped-out",
            (SECOND,),
            SECOND,
            (_T, Phase.START_SECOND, Phase.START_SEC),
            "swap",
            starts=True,
            doc="swap: the old primary is secondary",
        ),
        Row(
            "swap-back",
            (SECOND,),
            ALONE,
            (_T, Phase.START_PRIM, Phase.START_SEC),
            "swap",
            takes=True,
            starts=True,
            doc="swap: the old secondary went before it could take the role",
        ),
        Row(
            "swap-in",
            (SECOND,),
            PRIM,
            (Phase.STOP_SEC, Phase.STOP_SECOND, _T, Phase.START_PRIM),
            "swap",
            takes=True,
            starts=True,
            doc="swap: the old secondary is primary",
        ),
        Row("restart", RUNNING, None, (Phase.RESTART,), "restart", starts=True, doc="the application, in place"),
        Row(
            "reconfigure",
            (WAIT, *RUNNING),
            None,
            (Phase.RECONFIGURE,),
            "reconfigure",
            starts=True,
            doc="a new configuration, in place",
        ),
        Row("wait", RUNNING, WAIT, (), "wait", releases=True, doc="a rule, or no right to run"),
        Row("stop", (WAIT, *RUNNING), STOP, (), "stop", releases=True, doc="stopped, or a start failed"),
        Row(
            "cleanup",
            (STOP, WAIT, *RUNNING),
            STOP,
            (Phase.CLEANUP,),
            "cleanup",
            releases=True,
            doc="after a crash of the host or the daemon",
        ),
    )
}
OF_DATA: Final = frozenset({Phase.PAIR, Phase.STAND_ALONE})
"""Left out where nothing replicates."""
LEAVE_IT_ALONE: Final = frozenset({"joined", "left", "anew", "fence"})
"""Rows in which the application that runs here goes on as it is."""


def phases(row: Row, before: ModuleState, force: bool) -> tuple[Phase, ...]:
    """The row's phases; those of a stop depend on the state that is left."""
    if row.name == "wait":
        return (*(_STOP_ALL if force else STOPPING[before]), _T)
    if row.name == "stop":
        return (*(_STOP_ALL if force else STOPPING[before]), Phase.POSTSTOP, _T)
    return row.phases
