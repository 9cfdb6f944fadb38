"""Both nodes of a mirror run it: after a partition, a freeze, or an operator's word. One of them stops at once."""

from __future__ import annotations

from safekit.engine.module import Turn
from safekit.engine.reports import ModuleReport


def meet(turn: Turn) -> bool:
    """Both run after a partition or a freeze: the loser stops at once. True when this node is the loser."""
    report = _other_primary(turn)
    if report is None:
        _calm_down(turn)
        return False
    if not loses(turn, report):
        turn.be(
            turn.m.state,
            turn.m.readiness,
            f"both nodes ran the module after they had lost each other; {turn.peer.node} stops",
            "two-primaries",
            severity="alarm",
            prevent="a lease witness: with it at most one node runs",
        )
        return False
    turn.begin(
        "wait",
        f"both nodes ran the module after they had lost each other; {turn.peer.node} goes on, this node stops",
        "two-primaries",
        force=True,
        severity="alarm",
        facts={"this node took over": _word(turn.m.took_over), "this node was frozen": _word(turn.m.doubtful)},
        prevent="a lease witness: with it at most one node runs",
    )
    return True


def _other_primary(turn: Turn) -> ModuleReport | None:
    """The peer's report when both run and the peer means to go on. One that says STOP, WAIT or SECOND while
    something is active there is about to end it by itself."""
    report = turn.peer.report
    if report is None or not (turn.m.active and turn.peer.runs):
        return None
    is_compared = turn.peer.deaf or turn.peer.acquainted  # else it may be about to stop because we were deaf to it
    return report if is_compared else None


def _calm_down(turn: Turn) -> None:
    """The peer was heard since, and runs nothing: nobody took over here or there."""
    report = turn.peer.report
    if report is None or not turn.peer.alive or report.active:
        return
    doubtful = turn.m.doubtful and not turn.around.awake
    if (turn.m.took_over, turn.m.doubtful) != (False, doubtful):
        turn.set(took_over=False, doubtful=doubtful)
        turn.publish()


def break_off(turn: Turn) -> None:
    """A start may take minutes; two primaries may not last so long."""
    report, run = _other_primary(turn), turn.m.run
    if report is None or run is None or run.killed or not run.row.starts or not loses(turn, report):
        return
    turn.kill_host(f"{turn.peer.node} is primary as well", blameless=True)
    turn.say(
        f"both nodes run the module; {turn.peer.node} goes on, '{run.row.name}' is broken off here",
        "two-primaries",
        severity="alarm",
        prevent="a lease witness: with it at most one node runs",
    )


def _word(truth: bool) -> str:
    return "yes" if truth else "no"


def loses(turn: Turn, report: ModuleReport) -> bool:
    """The same answer on both nodes from the two reports: where a witness decides who has the lower epoch loses; then
    who was frozen; then who took over (the former secondary); then the lower epoch; then who comes later in the
    module's list. Before all that: who is not heard by the other, since the other cannot know that it is to stop."""
    m = turn.m
    if turn.peer.deaf:
        return True
    if m.spec.witness is not None and m.spec.witness.exclusive and m.epoch != report.epoch:
        return m.epoch < report.epoch  # the witness has given it to the other since
    if m.doubtful != report.doubtful:
        return m.doubtful
    if m.took_over != report.took_over:
        return m.took_over
    if m.epoch != report.epoch:
        return m.epoch < report.epoch
    return comes_later(turn)


def comes_later(turn: Turn) -> bool:
    nodes = turn.m.spec.nodes
    return nodes.index(turn.around.node) > nodes.index(turn.peer.node) if turn.peer.node in nodes else False
