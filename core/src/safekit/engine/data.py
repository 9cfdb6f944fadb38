"""Whose data have every acknowledged write, where a resource replicates them.

Each write is on both nodes before it is acknowledged, as long as the module is PRIM. A primary that stands alone
acknowledges what its peer lacks: it begins to only in an epoch of its own, after the peer has noted that epoch durably,
or after the witness has given the lease in that epoch. A node is up to date only when its data are of the last epoch in
which it knows anybody to have stood alone; and the witness gives the lease to nobody who does not know of the last one.
Without a witness nothing is asked of a peer that is silent: what it may do then is what the isolation policy says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from safekit.engine import fence, right
from safekit.engine.module import Module, Turn
from safekit.engine.reports import ModuleReport
from safekit.engine.transitions import PRIM

UP_TO_DATE: Final = "rfs.uptodate"
"""Whether the data here had every acknowledged write when the resource last heard its primary."""
EPOCH: Final = "rfs.epoch"
"""The epoch of the primary whose writes they are."""
HOLDING: Final = "rfs.holding"
"""On a primary: it acknowledges nothing, because its secondary does not answer."""
PATIENCE_S: Final = 5.0
"""How long a peer that is heard may take to note that it is left alone, where no witness knows it instead. One that
takes longer has a disk that hangs."""


def is_known(module: Module) -> bool:
    return UP_TO_DATE in module.values


def is_holding(module: Module) -> bool:
    return module.spec.has_data and HOLDING in module.values and module.values[HOLDING].value == "up"


def up_to_date(module: Module) -> bool:
    """Whether the data here may be served; always, when the module replicates none."""
    if not module.spec.has_data:
        return True
    value = module.values.get(UP_TO_DATE)
    of = max(_epoch(module), module.stood_alone)
    return value is not None and value.value == "up" and of >= module.alone_epoch


def _epoch(module: Module) -> int:
    text = module.values[EPOCH].value if EPOCH in module.values else ""
    return int(text) if text.isascii() and text.isdecimal() else 0


def may_have_missed(module: Module) -> bool:
    """Whether another node may have stood alone while this one was away: who was alone itself last knows better."""
    was_alone = module.was_primary and module.stood_alone > 0
    return module.spec.has_data and module.epoch > 0 and not was_alone and not module.incumbent


def learn(turn: Turn, report: ModuleReport) -> None:
    """Note that the peer stood alone, or is about to: it waits for the answer, which is sent when this is durable."""
    if report.alone_epoch > turn.m.alone_epoch:
        turn.set(alone_epoch=report.alone_epoch)
        turn.publish()


def part(turn: Turn, why: str) -> None:
    """Stand alone from PRIM on, as soon as that is agreed. There is no way back: the peer may have noted it already."""
    if turn.m.spec.has_data and not turn.m.parting:
        _announce(turn)
        turn.set(parting=why, parting_s=turn.now_s)
        turn.say(f"{why}: it is to stand alone", "part", severity="warning", epoch=str(turn.m.epoch))
    if not turn.m.spec.has_data or _is_agreed(turn):
        turn.set(parting="", swapped_back=False)
        turn.begin("left", why, severity="warning")
    elif _is_up_to_fencing(turn):
        fence.is_first(turn)


def _announce(turn: Turn) -> None:
    epoch = max(turn.m.epoch, turn.m.right.epoch, turn.m.alone_epoch) + 1
    turn.set(epoch=epoch, stood_alone=epoch, alone_epoch=epoch)
    turn.publish()


def stand_anew(turn: Turn) -> bool:
    """Another stood alone later than this primary, which goes on: what that one has counts for nothing from now on."""
    if turn.m.spec.has_data and not up_to_date(turn.m) and turn.m.stood_alone < turn.m.alone_epoch:
        _announce(turn)
        why = f"{turn.peer.node} stood alone as well; what it wrote does not count"
        return turn.begin("anew", why, "two-primaries", severity="alarm")
    return False


def agree(turn: Turn) -> None:
    """Let a run begin that waited until nobody takes over with less than what it will acknowledge."""
    run = turn.m.run
    if run is None or run.order is None or run.killed or not turn.around.awake:
        return
    if _is_agreed(turn):
        turn.actions.append(run.order)
        turn.set(run=replace(run, order=None, deadline_s=turn.now_s + run.order.bound_s))
    elif _is_up_to_fencing(turn) or not turn.m.wanted:
        turn.set(run=None)
        turn.begin("wait", f"{turn.peer.node} cannot be asked, and is to be fenced first", "part", severity="warning")


def fences_first(turn: Turn) -> bool:
    """Who was primary here and goes on alone has its silent peer fenced, where that one would fence it."""
    if not (turn.m.spec.has_data and turn.m.spec.fences and turn.m.incumbent) or turn.m.chosen:
        return False
    return fence.is_first(turn)


def break_off(turn: Turn) -> None:
    """What starts or stops in PRIM and has lost its secondary may wait for a write that nobody acknowledges."""
    run = turn.m.run
    if run is None or run.killed or not turn.m.spec.has_data:
        return
    if why := _why_broken_off(turn, run.row.name):
        turn.kill_host(f"{why}, and nothing can be acknowledged", blameless=True)
        turn.say(f"{why} during '{run.row.name}', which is broken off", "part", severity="warning")


def _why_broken_off(turn: Turn, row: str) -> str:
    """Empty where it goes on. A primary that hands over is SECOND already, and stays the primary until it has stopped:
    there is nothing that it could be told instead, so it is not waited for longer than in PRIM."""
    is_leaving = row == "swap-out"
    is_starting = turn.m.state is PRIM and row in {"swap-in", "restart", "reconfigure"}
    if (is_leaving or is_starting) and turn.peer.absent and not turn.peer.alive:
        return f"{turn.peer.node} is lost"
    return f"{turn.peer.node} does not take what is written here" if is_leaving and is_holding(turn.m) else ""


def _is_agreed(turn: Turn) -> bool:
    m, report = turn.m, turn.peer.report
    if m.right.by_force:
        return True  # the operator answers for it
    if turn.peer.alive and report is not None and report.alone_epoch >= m.stood_alone:
        return True
    if right.is_exclusive(turn):
        return m.right.epoch >= m.stood_alone
    return fence.is_done(turn) if m.spec.fences and turn.peer.node else _is_not_waited_for(turn)


def _is_not_waited_for(turn: Turn) -> bool:
    is_silent = not turn.peer.alive or turn.peer.report is None
    return is_silent or turn.now_s >= turn.m.parting_s + PATIENCE_S


def _is_up_to_fencing(turn: Turn) -> bool:
    """Where the peer fences too, its silence is no leave to go on."""
    return turn.m.spec.fences and right.witness_of(turn.m) is None and _is_not_waited_for(turn)
