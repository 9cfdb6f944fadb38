"""Light: every node runs the module, whatever the others do. So does a farm, which then shares the clients."""

from __future__ import annotations

from safekit.engine import commands, progress
from safekit.engine.module import Turn
from safekit.engine.transitions import UP, WAIT


def decide(turn: Turn) -> None:
    if turn.m.run is not None or progress.stop_or_start(turn):
        return
    if turn.m.state is WAIT:
        if not progress.paused(turn) and not commands.held_in_wait(turn):
            turn.begin("become-up", "started")
    elif turn.m.state is UP and turn.m.steady:
        commands.act_on_rule(turn)
