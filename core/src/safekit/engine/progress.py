"""What follows when a run ends, a host comes or goes, or a limit passes."""

from __future__ import annotations

from typing import Final

from safekit.engine import commands, fence, right
from safekit.engine.events import PipelineFinished
from safekit.engine.module import HostState, Turn
from safekit.engine.reports import ModuleState, Readiness
from safekit.engine.transitions import SECOND, STOP, WAIT, Row

CLEANUP_AGAIN_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before the next clean-up, by how many have failed in a row."""

READY_REASONS: Final = {
    ModuleState.ALONE: "running here, without a secondary",
    ModuleState.PRIM: "running here, with a secondary",
    ModuleState.SECOND: "ready to take over",
    ModuleState.UP: "running",
}


def host_ready(turn: Turn) -> None:
    """Also when none is expected: the loss of the one before was told twice."""
    if turn.m.host is not HostState.READY:
        turn.set(host=HostState.READY)


def host_lost(turn: Turn, reason: str) -> None:
    """Whatever it had started may still run: `active` stays, and a new host cleans up first."""
    if turn.m.host is HostState.NONE and turn.m.run is None:
        return
    run = turn.m.run
    counts = (turn.m.state is not STOP or run is not None) and not (run is not None and run.blameless)
    turn.set(host=HostState.NONE, run=None, claim=0, handover=False, again=False, values={}, holding={}, reload=False)
    turn.set(share=turn.m.share.unsure(turn.now_s), met=())
    right.forget_call(turn)
    _clean_up_later(turn)
    if turn.m.wanted and counts:
        turn.count_loop(reason)
    turn.be(
        _fallen(turn),
        Readiness.TRANSIENT,
        f"the module's host was lost: {reason}; everything is stopped by force before it goes on",
        "host-lost",
        severity="alarm",
    )


def _fallen(turn: Turn) -> ModuleState:
    """What it is while something of it may still run that is to be stopped."""
    return WAIT if turn.m.wanted else STOP


def run_ended(turn: Turn, event: PipelineFinished) -> None:
    run = turn.m.run
    if run is None or run.number != event.run:
        return
    turn.set(run=None)
    if run.row.name == fence.ROW:
        fence.ended(turn, event)
    elif event.stuck or not (event.ok or run.row.starts):
        _stuck(turn, run.row, event)
    elif run.row.starts and not event.ok:
        _start_failed(turn, run.row, event)
    elif run.row.releases:
        _released(turn, run.row)
    else:
        _arrived(turn, run.row)


def _arrived(turn: Turn, row: Row) -> None:
    if row.name == "swapped-out":
        turn.set(swapped_back=True)
    if row.name == "joined":
        turn.set(stood_alone=0)
    if turn.m.state is WAIT:
        turn.be(WAIT, Readiness.TRANSIENT, "prestart is done; looking for the peer", "started")
        return
    turn.set(retry_s=0.0, share=turn.m.share.unknown())
    turn.be(turn.m.state, Readiness.READY, READY_REASONS.get(turn.m.state, ""), row.name)


def _released(turn: Turn, row: Row) -> None:
    turn.set(active=False, took_over=False, doubtful=False, cleanups=0, share=turn.m.share.none())
    right.give_back(turn)
    if row.name == "swap-out":
        _hand_over(turn)
    elif row.name == "cleanup":
        turn.set(cleanup=False)
        turn.be(STOP, Readiness.NOT_READY, "everything is stopped", "cleanup")
    elif row.name == "wait":
        turn.be(WAIT, Readiness.TRANSIENT, "stopped; deciding what to be", "wait")
    else:
        turn.set(again=False)
        turn.be(STOP, Readiness.NOT_READY, turn.m.reason.replace("stopping", "stopped", 1), "stop")
    turn.publish()


def _hand_over(turn: Turn) -> None:
    """Nobody else can have become primary before this is published, so this node may have the role back."""
    obstacle = commands.receiver_obstacle(turn)
    if not turn.m.wanted:
        turn.be(SECOND, Readiness.TRANSIENT, "no longer primary", "swap-out")
    elif obstacle and turn.around.awake and not commands.unfit(turn) and right.suffices(turn):
        turn.begin("swap-back", f"the swap is called off: {obstacle}", severity="warning")
    else:
        until_s = turn.now_s + max(5.0, 3 * turn.around.lost_after_s)
        turn.set(incumbent=False)
        turn.begin("swapped-out", f"handed over to {turn.peer.node}")
        turn.set(handover=True, handover_until_s=until_s)


def _start_failed(turn: Turn, row: Row, event: PipelineFinished) -> None:
    """What this run had started is stopped; what earlier runs had started follows, then it starts anew."""
    what = f"{event.failed} did not start: {event.reason}" if event.failed else event.reason
    again = turn.m.wanted and turn.count_loop(what)
    turn.set(again=again)
    turn.begin(
        "stop",
        f"stopping: {what}",
        f"{row.name}-failed",
        severity="warning",
        facts={"failed": event.failed, "because": event.reason},
        prevent="`safekit plan` checks on each node what a start needs",
    )


def _stuck(turn: Turn, row: Row, event: PipelineFinished) -> None:
    """A forced stop failed: something may still run, and if it is the primary's, nobody else may be primary."""
    what = event.failed or "something"
    _clean_up_later(turn)
    if row.starts and turn.m.wanted:
        turn.count_loop(f"{what} did not start: {event.reason}")
    turn.be(
        _fallen(turn),
        Readiness.NOT_READY,
        f"{what} does not stop: {event.reason}; tried again every few seconds"
        + ("; the peer must not take over" if turn.m.active else ""),
        "stuck",
        severity="alarm",
        facts={"during": row.name},
        prevent=f"stop {what} by hand; then the module goes on by itself",
    )


def _clean_up_later(turn: Turn) -> None:
    pause_s = CLEANUP_AGAIN_S[min(turn.m.cleanups, len(CLEANUP_AGAIN_S) - 1)]
    turn.set(cleanup=True, cleanups=turn.m.cleanups + 1, cleanup_s=turn.now_s + pause_s)


def limits(turn: Turn) -> None:
    """A run past its bound is a hung host. One that the host was not given yet has none."""
    run = turn.m.run
    if run is not None and run.order is None and turn.now_s >= run.deadline_s and not run.killed:
        turn.kill_host(f"'{run.row.name}' did not end within its bound")


def clean_up(turn: Turn) -> bool:
    """True when a clean-up is under way or due: nothing else is decided."""
    if not turn.m.cleanup:
        return False
    if turn.now_s >= turn.m.cleanup_s:
        turn.begin("cleanup", "making sure that nothing runs from before", "cleanup", force=True)
    return True


def reconfigured(turn: Turn) -> bool:
    """Take a new configuration over where the host runs."""
    if not turn.m.reload or turn.m.host is not HostState.READY:
        return False
    turn.set(reload=False)
    return turn.begin("reconfigure", "taking the new configuration over")


def stop_or_start(turn: Turn) -> bool:
    """Decide what does not depend on the kind. True when a run is on its way or nothing more is to decide."""
    m = turn.m
    if clean_up(turn) or _pending(turn):
        return True
    if m.state is STOP:
        return _from_stop(turn)
    if not turn.m.wanted or m.again:
        turn.begin("stop", _stop_reason(turn))
        return True
    return reconfigured(turn)


def _stop_reason(turn: Turn) -> str:
    if turn.m.leaving:
        return "stopping: the daemon of this node ends"
    return "stopping, to start again" if turn.m.again else "stopping: asked for"


def _from_stop(turn: Turn) -> bool:
    if not turn.m.wanted:
        turn.set(incumbent=False)
        turn.drop_host()
    elif not paused(turn):
        turn.set(again=False)
        turn.begin("start", "starting")
    return True


def paused(turn: Turn) -> bool:
    """Whether the pause before the next automatic attempt lasts."""
    if turn.now_s >= turn.m.retry_s:
        return False
    why = f"pausing before automatic restart {len(turn.m.loops)}"
    turn.be(turn.m.state, Readiness.NOT_READY, why, "pause")
    return True


def _pending(turn: Turn) -> bool:
    command, force = turn.m.pending, False
    if command is None:
        return False
    turn.set(pending=None)
    commands.obey(turn, command, force=force, by="")
    return turn.m.run is not None
