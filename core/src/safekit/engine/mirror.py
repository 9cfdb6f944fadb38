"""The mirror: which of two nodes is primary. Two rules keep it from being both.

While the nodes hear each other, a node becomes primary only by the other's word: it claims, and waits until the
other has acknowledged the claim in a report that is neither active nor claims itself. Who acknowledged a claim
does not become primary while it stands. Of two claims at once the node that comes first in the module's list wins.

While they do not hear each other, the witness decides (`right`), or where there is none the isolation policy.
"""

from __future__ import annotations

from safekit.engine import commands, data, fence, meeting, progress, right
from safekit.engine.actions import Meet
from safekit.engine.module import HostState, Turn
from safekit.engine.reports import ModuleReport, Readiness
from safekit.engine.spec import IsolationPolicy
from safekit.engine.transitions import ALONE, PRIM, SECOND, WAIT


def decide(turn: Turn) -> None:
    right.begin_turn(turn)
    fence.begin_turn(turn)
    _acknowledge(turn)
    if not right.enforce(turn):
        _decide(turn)
    data.agree(turn)
    _introduce(turn)
    right.keep(turn)


def _introduce(turn: Turn) -> None:
    """Tell the resources here what those of the peer say."""
    report = turn.peer.report
    if turn.m.host is HostState.READY and report is not None and report.places != turn.m.met:
        turn.set(met=report.places)
        turn.actions.append(Meet(turn.m.spec.name, turn.peer.node, report.places))


def _decide(turn: Turn) -> None:
    """Begin what the facts call for; while a run is under way nothing, unless it must not go on."""
    if turn.m.run is not None:
        turn.wants_lease = turn.m.run.row.name == fence.ROW and turn.m.state is SECOND
        meeting.break_off(turn)
        data.break_off(turn)
        return
    if progress.stop_or_start(turn):
        return
    if meeting.meet(turn):
        return
    match turn.m.state:
        case s if s is WAIT:
            _from_wait(turn)
        case s if s is ALONE:
            _from_alone(turn)
        case s if s is PRIM:
            _from_prim(turn)
        case s if s is SECOND:
            _from_second(turn)


def _acknowledge(turn: Turn) -> None:
    """Answer the peer's claim at once; the one that stays in our report tells it that we heard. Who was told
    to be primary while the peer was silent needs the peer's word all the same once it is heard."""
    if turn.peer.alive:
        turn.set(chosen_alone=False)
    if turn.peer.active and not turn.m.active:
        turn.set(incumbent=False)
    report = turn.peer.report
    claim = report.claim if report is not None and turn.peer.alive else turn.m.acknowledged
    if claim != turn.m.acknowledged:
        turn.set(acknowledged=claim)
        turn.publish()


def _from_wait(turn: Turn) -> None:
    if progress.paused(turn) or commands.held_in_wait(turn):
        _withdraw(turn)
    else:
        _look_for_peer(turn)


def _look_for_peer(turn: Turn) -> None:
    peer, report = turn.peer, turn.peer.report
    if not peer.node or peer.absent:
        _withdraw(turn)
        _alone_or_wait(turn)
    elif not peer.alive:
        _yield(turn, Readiness.TRANSIENT, f"listening for {peer.node}")
    elif report is None:
        _yield(turn, Readiness.TRANSIENT, f"{peer.node} does not have this module yet")
    elif report.active:
        _second_of(turn, report)
    else:
        _among_idle(turn, report)


def _second_of(turn: Turn, report: ModuleReport) -> None:
    _withdraw(turn)
    turn.set(chosen=False, chosen_by_force=False, survivor=False)
    if report.state in {ALONE, PRIM} and report.readiness is Readiness.READY:
        turn.begin("become-second", f"{turn.peer.node} is primary")
    else:
        _stay(turn, Readiness.TRANSIENT, f"{turn.peer.node} is {report.state} {report.readiness}; waiting for it")


def _among_idle(turn: Turn, report: ModuleReport) -> None:
    """The peer is heard and is not primary."""
    if turn.m.only_second:
        _yield(turn, Readiness.NOT_READY, f"to be secondary; waiting for {turn.peer.node} to be primary")
    elif not _may_be_primary(turn):
        _withdraw(turn)
    elif report.state is SECOND and not turn.m.chosen:
        _yield(turn, Readiness.TRANSIENT, f"{turn.peer.node} is about to take over")
    elif report.state is WAIT and report.readiness is Readiness.TRANSIENT and not _first(turn, report):
        _yield(turn, Readiness.TRANSIENT, f"{turn.peer.node} is to be primary; waiting for it")
    else:
        _claim(turn, "become-alone", f"{turn.peer.node} is not running it")


def _first(turn: Turn, report: ModuleReport) -> bool:
    """Of two nodes that wait, the one to be primary: who the operator chose, has the data, was the last."""
    m, spec = turn.m, turn.m.spec
    if m.chosen:
        return True
    own = (data.up_to_date(m), m.epoch, m.was_primary and m.epoch >= report.epoch)
    other = (report.up_to_date, report.epoch, report.was_primary and report.epoch >= m.epoch)
    if own != other:
        return own > other
    if spec.default_primary in {turn.around.node, turn.peer.node}:
        return spec.default_primary == turn.around.node
    return not meeting.comes_later(turn)


def _may_be_primary(turn: Turn) -> bool:
    if turn.m.survivor and not turn.m.failover and not turn.m.chosen:
        _stay(turn, Readiness.NOT_READY, f"{turn.peer.node} stopped being primary, and automatic failover is off")
        return False
    obstacle = commands.unfit(turn)
    if obstacle:
        _stay(turn, Readiness.NOT_READY, f"it may not be primary: {obstacle}")
    return not obstacle


def _alone_or_wait(turn: Turn) -> None:
    """Nobody is heard."""
    peer = turn.peer.node
    if not turn.m.chosen_alone:
        turn.set(chosen=not peer and turn.m.chosen, chosen_by_force=not peer and turn.m.chosen_by_force)
    if not _may_be_primary(turn):
        return
    if turn.m.only_second:
        _stay(turn, Readiness.NOT_READY, f"to be secondary, and {peer} cannot be heard")
    elif not peer:
        turn.begin("become-alone", "this module has one node")
    elif right.witness_of(turn.m) is not None:
        _alone_by_witness(turn)
    elif turn.m.chosen:
        turn.set(fenced_s=turn.now_s, fence_s=0.0)  # the operator answers for it
        turn.begin("become-alone", f"the operator said so; {peer} cannot be heard", "prim", severity="warning")
    elif not data.fences_first(turn):
        _alone_by_policy(turn)


def _alone_by_policy(turn: Turn) -> None:
    peer = turn.peer.node
    if turn.m.incumbent and not turn.m.acknowledged and not _was_primary_too(turn):
        turn.begin("become-alone", f"it was primary here; {peer} is silent, and cannot have become it since")
    elif turn.m.spec.isolation is IsolationPolicy.AVAILABILITY and data.may_have_missed(turn.m):
        _stay_behind(turn)
    elif turn.m.spec.isolation is IsolationPolicy.AVAILABILITY:
        turn.begin(
            "become-alone",
            f"{peer} cannot be heard, and the policy is availability",
            considered=("wait: the policy `isolation: safety` would",),
        )
    else:
        force = " --force" if turn.m.spec.has_data else ""
        _stay(
            turn,
            Readiness.NOT_READY,
            f"{peer} cannot be heard, and nobody can tell a dead peer from a cut link (isolation: safety); "
            f"if {peer} is off: `safekit module prim {turn.m.spec.name}{force}`",
        )


def _stay_behind(turn: Turn) -> None:
    _stay(
        turn,
        Readiness.NOT_READY,
        f"{turn.peer.node} cannot be heard, may have been primary while this node was away, and may have written; "
        f"if that may be lost: `safekit module prim {turn.m.spec.name} --force`",
    )


def _was_primary_too(turn: Turn) -> bool:
    """The peer, when it was last heard: an operator's word may have made both of them primary."""
    return turn.peer.report is not None and turn.peer.report.active


def _alone_by_witness(turn: Turn) -> None:
    peer = turn.peer.node
    if turn.m.chosen and turn.m.chosen_by_force:
        right.by_force(turn)
        turn.begin("become-alone", f"the operator answers for it that {peer} runs nothing", "prim", severity="warning")
    elif turn.now_s < right.may_ask_s(turn):
        _stay(turn, Readiness.TRANSIENT, f"{peer} cannot be heard; it may still run for a while")
    elif not right.is_exclusive(turn) and data.may_have_missed(turn.m):
        _stay_behind(turn)
    elif right.has(turn):
        turn.begin("become-alone", f"{peer} cannot be heard, and the witness gave this node the lease")
    else:
        why = turn.m.right.trouble or "the witness is asked"
        off = f"; if {peer} is off: `safekit module prim {turn.m.spec.name} --force`"
        _stay(turn, Readiness.NOT_READY, f"{peer} cannot be heard: {why}{off if turn.m.right.trouble else ''}")


def _stay(turn: Turn, readiness: Readiness, why: str) -> None:
    turn.be(turn.m.state, readiness, why, "waiting")


def _yield(turn: Turn, readiness: Readiness, why: str) -> None:
    """Stay, and leave the role to the peer. A claim that nobody pursues would keep the peer waiting."""
    _withdraw(turn)
    _stay(turn, readiness, why)


def _claim(turn: Turn, row: str, why: str) -> None:
    """Claim, or begin the row when the claim is acknowledged and uncontested."""
    report = turn.peer.report
    assert report is not None
    if not turn.around.awake:
        return  # it slept, and may be hearing an acknowledgement or a silence of long ago
    if turn.peer.deaf and right.witness_of(turn.m) is not None:
        _by_lease_alone(turn, row, why)
        return
    if not turn.m.claim:
        if report.claim and meeting.comes_later(turn):
            return
        turn.set(claim=(turn.around.incarnation << 20) + turn.m.runs + 1)
        if turn.m.state is WAIT:
            _stay(turn, Readiness.TRANSIENT, f"{why}; claims to be primary, waits for {turn.peer.node}'s word")
        else:
            turn.say(f"claims to be primary: {why}", "claim")
        turn.publish()
    elif report.claim:
        if meeting.comes_later(turn):
            _withdraw(turn)
    elif report.acknowledged == turn.m.claim and right.suffices(turn):
        turn.begin(row, why)


def _by_lease_alone(turn: Turn, row: str, why: str) -> None:
    """The peer is heard and is not primary, and does not hear this node: it can acknowledge no claim, and it can become
    primary only by the lease."""
    _withdraw(turn)
    if turn.peer.claims or turn.now_s < turn.peer.deaf_s + right.lease_s(turn):
        return
    if right.has(turn):
        turn.begin(row, f"{why}; it does not hear this node, and the witness gave this node the lease")


def _withdraw(turn: Turn) -> None:
    if turn.m.claim:
        turn.set(claim=0, runs=turn.m.runs + 1)
        turn.publish()


def _from_alone(turn: Turn) -> None:
    if not turn.m.steady or data.stand_anew(turn) or commands.act_on_rule(turn):
        return
    if turn.peer.state is SECOND and not turn.peer.active:
        turn.begin("joined", f"{turn.peer.node} is secondary")


def _from_prim(turn: Turn) -> None:
    if not turn.m.steady or commands.act_on_rule(turn):
        return
    why = turn.m.parting or _why_alone(turn)
    if why:
        data.part(turn, why)
    elif _default_primary_is_ready(turn):
        turn.set(swapped_back=True)
        turn.begin("swap-out", f"{turn.peer.node} is the default primary and is ready", "default_primary")


def _why_alone(turn: Turn) -> str:
    """Why this primary has no secondary any more; empty while it has one."""
    if not turn.peer.alive:
        return f"{turn.peer.node} was silent for {turn.peer.silent_s:.2f} s"
    if turn.peer.state is not SECOND:
        return f"{turn.peer.node} is {turn.peer.state}"
    return f"{turn.peer.node} does not take what is written here" if data.is_holding(turn.m) else ""


def _default_primary_is_ready(turn: Turn) -> bool:
    wanted = turn.m.spec.default_primary == turn.peer.node and not turn.m.swapped_back
    return wanted and not commands.swap_obstacle(turn)


def _from_second(turn: Turn) -> None:
    peer, report = turn.peer, turn.peer.report
    if not turn.m.steady or commands.act_on_rule(turn):
        return
    if not peer.alive:
        _withdraw(turn)
        _lost_primary(turn)
    elif report is None:
        return
    elif report.active:
        _withdraw(turn)
        turn.set(handover=False)
        turn.be(SECOND, Readiness.READY, progress.READY_REASONS[SECOND], "joined")
    elif turn.m.handover and report.state is SECOND and turn.now_s < turn.m.handover_until_s:
        return
    else:
        turn.set(handover=False)
        _without_primary(turn, report)


def _without_primary(turn: Turn, report: ModuleReport) -> None:
    """The peer is heard, and is not primary (any more)."""
    peer, obstacle = turn.peer.node, commands.unfit(turn)
    if obstacle:
        turn.begin("wait", f"{peer} is {report.state}, and this node may not be primary: {obstacle}", "unfit")
    elif report.handover:
        if turn.around.awake and right.suffices(turn):
            turn.begin("swap-in", f"{peer} handed over")
    elif not turn.m.failover and report.state is not SECOND:
        turn.set(survivor=True)
        turn.begin("wait", f"{peer} is {report.state}, and automatic failover is off", "failover-off")
    elif report.state is SECOND and not _first(turn, report):
        _withdraw(turn)
    else:
        _claim(turn, "takeover", f"{peer} is {report.state}: {report.reason}")


def _lost_primary(turn: Turn) -> None:
    peer = turn.peer
    facts = {"silent for": f"{peer.silent_s:.3f} s", "lost after": f"{turn.around.lost_after_s:g} s"}
    obstacle = commands.unfit(turn)
    if not turn.m.failover:
        turn.set(survivor=True)
        turn.begin("wait", f"{peer.node} was lost, and automatic failover is off", "failover-off", facts=facts)
    elif obstacle:
        turn.begin("wait", f"{peer.node} was lost, but {obstacle}", "unfit", severity="alarm", facts=facts)
    elif right.witness_of(turn.m) is not None:
        _take_over_by_witness(turn, facts)
    elif turn.m.spec.fences:
        _take_over_by_fence(turn, facts)
    elif turn.m.spec.isolation is IsolationPolicy.AVAILABILITY:
        turn.begin(
            "takeover",
            f"{peer.node} was silent for {peer.silent_s:.2f} s on every network",
            severity="warning",
            facts=facts,
            considered=("wait: the policy `isolation: safety` would; a lease witness would decide for sure",),
            prevent="a second heartbeat network, if only the network failed; a longer lost_after, if it was load",
        )
    else:
        turn.begin(
            "wait",
            f"{peer.node} was silent for {peer.silent_s:.2f} s on every network; it may still run (isolation: safety)",
            severity="alarm",
            facts=facts,
            considered=("take over: without a lease witness nobody can tell a dead peer from a cut link",),
            prevent="a lease witness, or `isolation: availability` where running twice loses nothing",
        )


def _take_over_by_fence(turn: Turn, facts: dict[str, str]) -> None:
    peer = turn.peer
    fence.yield_first(turn)
    if not fence.is_first(turn):
        why = f"{peer.node} was silent for {peer.silent_s:.2f} s on every network, and is fenced"
        turn.begin("takeover", why, severity="warning", facts=facts)


def _take_over_by_witness(turn: Turn, facts: dict[str, str]) -> None:
    """What the primary was promised ends first; then the witness knows whether it has the lease still. Where it has, it
    runs, and what this node has grows old: it is secondary no more."""
    peer, may_s = turn.peer, right.may_ask_s(turn)
    turn.set(handover=False)
    witness = right.witness_of(turn.m)
    if turn.now_s < may_s:
        turn.be(SECOND, Readiness.READY, f"{peer.node} is silent; it may still run for a while", "silence")
    elif right.has(turn):
        if fence.is_first(turn):
            return
        turn.begin(
            "takeover",
            f"{peer.node} was silent for {peer.silent_s:.2f} s on every network; the witness gave this node the lease",
            severity="warning",
            facts={**facts, "lease": f"epoch {turn.m.right.epoch}"},
            prevent="a second heartbeat network, if only the network failed; a longer lost_after, if it was load",
        )
    elif witness is not None and turn.now_s < may_s + witness.lease_s:
        turn.be(SECOND, Readiness.READY, f"{peer.node} is silent; the witness is asked", "silence")
    else:
        why = turn.m.right.trouble or "the witness gave no answer"
        turn.begin("wait", f"{peer.node} is silent, and {why}", severity="alarm", facts=facts)
