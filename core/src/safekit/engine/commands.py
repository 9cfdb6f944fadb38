"""What an operator may ask for, and when it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from safekit.engine import data, firing, rules
from safekit.engine.events import Command
from safekit.engine.module import Turn
from safekit.engine.reports import Readiness
from safekit.engine.spec import Kind
from safekit.engine.transitions import ALONE, PRIM, RUNNING, SECOND, STOP, WAIT


def give(turn: Turn, command: Command, *, force: bool, by: str) -> None:
    """Take a command now, or when the run under way has ended. A stop beats what waits."""
    turn.set(loops=(), retry_s=0.0)
    if command in {Command.STOP, Command.FORCESTOP}:
        turn.set(desired=False, again=False, pending=None)
    if command is Command.FORCESTOP and turn.m.run is not None:
        turn.kill_host("forcestop")
        turn.say("forcestop: the run under way is broken off", "forcestop", by=by)
    elif turn.m.run is not None and command not in _WISHES_ONLY:
        turn.set(pending=command)
        turn.say(f"{command}: follows when '{turn.m.run.row.name}' has ended", "later", by=by)
    else:
        obey(turn, command, force=force, by=by)


_WISHES_ONLY = frozenset(
    {Command.START, Command.STOP, Command.SHUTDOWN, Command.FAILOVER_ON, Command.FAILOVER_OFF, Command.PRIM}
)


def _want_started(turn: Turn) -> None:
    turn.set(desired=True, leaving=False, only_second=False, survivor=False)
    turn.set(chosen=False, chosen_alone=False, chosen_by_force=False)


def obey(turn: Turn, command: Command, *, force: bool, by: str) -> None:
    match command:
        case Command.RESTART:
            _restart(turn, by)
        case Command.STOPSTART:
            _stopstart(turn, by)
        case Command.SWAP:
            _swap(turn, by)
        case Command.PRIM:
            _prim(turn, force, by)
        case Command.SECOND:
            _second(turn, by)
        case _:
            _wish(turn, command, by)


def _wish(turn: Turn, command: Command, by: str) -> None:
    """What only changes what is wanted; the decision at the end of the turn acts on it."""
    if command is Command.START:
        _want_started(turn)
    elif command is Command.SHUTDOWN:
        turn.set(leaving=True)
    elif command in {Command.FAILOVER_ON, Command.FAILOVER_OFF}:
        turn.set(failover=command is Command.FAILOVER_ON)
        turn.publish()
    turn.say(f"{command} asked for", str(command), by=by)
    if command is Command.FORCESTOP and turn.m.state is not STOP:
        turn.begin("stop", "stopping: by force, as asked for", "forcestop", force=True)


def refuse(turn: Turn, what: str, why: str, hint: str = "") -> None:
    turn.say(f"{what}: refused, {why}", "refused", severity="warning", prevent=hint)


def _restart(turn: Turn, by: str) -> None:
    if turn.m.state not in RUNNING:
        refuse(turn, "restart", f"it does not run here (it is {turn.m.state})", "`safekit module start`")
    else:
        turn.begin("restart", "restarting in place: asked for", facts={"by": by})


def _stopstart(turn: Turn, by: str) -> None:
    if turn.m.state is STOP:
        refuse(turn, "stopstart", "it is stopped", "`safekit module start`")
    else:
        turn.set(again=True)
        turn.begin("stop", "stopping, to start again: asked for", "stopstart", facts={"by": by})


def _swap(turn: Turn, by: str) -> None:
    why = swap_obstacle(turn)
    if why:
        refuse(turn, "swap", why, "`safekit status` shows both nodes; both must be Ready")
    else:
        turn.begin("swap-out", f"swap: {turn.peer.node} becomes primary", facts={"by": by})


def swap_obstacle(turn: Turn) -> str:
    """Why roles cannot be swapped now; empty when they can."""
    if turn.m.spec.kind is not Kind.MIRROR:
        return f"a {turn.m.spec.kind} has no roles"
    if turn.m.parting:
        return f"it is about to stand alone: {turn.m.parting}"
    if turn.m.state is not PRIM or turn.m.readiness is not Readiness.READY:
        return f"this node is {turn.m.state} {turn.m.readiness}, not PRIM Ready"
    return receiver_obstacle(turn)


def receiver_obstacle(turn: Turn) -> str:
    """Why the peer could not become primary if it was handed the role; empty when it could."""
    report, name = turn.peer.report, turn.peer.node or "the peer"
    if not turn.peer.alive or report is None:
        return f"{name} cannot be heard"
    if report.state is not SECOND or report.readiness is not Readiness.READY:
        return f"{name} is {report.state} {report.readiness}, not SECOND Ready"
    return "" if report.up_to_date else f"the data of {name} may lack acknowledged writes"


def unfit(turn: Turn) -> str:
    """Why this node may not become primary, whatever the other does; empty when it may."""
    if turn.around.storage_trouble:
        return f"its role cannot be recorded: {turn.around.storage_trouble}"
    if _decides_otherwise(turn) and not turn.m.chosen_by_force:
        return f"{turn.peer.node} has another witness, or none, in its configuration: `safekit apply` where it is old"
    if not data.up_to_date(turn.m) and not (turn.m.chosen and turn.m.chosen_by_force):
        return "its data may lack acknowledged writes"
    return ""


def _decides_otherwise(turn: Turn) -> bool:
    """Whether the peer has another configuration of who decides: each could take the role by its own."""
    spec, report = turn.m.spec, turn.peer.report
    return spec.kind is Kind.MIRROR and report is not None and report.lease_s != spec.lease_s


def _prim(turn: Turn, force: bool, by: str) -> None:
    m = turn.m
    if m.spec.kind is not Kind.MIRROR:
        refuse(turn, "prim", f"a {m.spec.kind} has no roles", "`safekit module start`")
    elif force and m.spec.fences and m.state in {PRIM, SECOND} and not turn.peer.alive:
        turn.set(fenced_s=turn.now_s, fence_s=0.0)
        turn.say(f"prim: the operator answers for it that {turn.peer.node} is off", "prim", by=by, severity="warning")
    elif m.state in {ALONE, PRIM}:
        turn.set(desired=True, leaving=False)
        turn.say("prim: it is primary already", "prim", by=by)
    elif turn.peer.active:
        refuse(turn, "prim", f"{turn.peer.node} is primary", "`safekit module swap` exchanges the roles")
    elif m.state is SECOND:
        refuse(turn, "prim", "it is secondary and takes over by itself", "`safekit module swap`")
    elif not force and m.spec.has_data and not data.is_known(m):
        refuse(turn, "prim", "what its data lack is known when it is started", "`safekit module start`; then prim")
    elif not force and not data.up_to_date(m):
        refuse(turn, "prim", "its data may lack writes that were acknowledged", "prim --force, if they may be lost")
    elif not force and m.spec.has_data and not turn.peer.alive:
        peer = turn.peer.node or "the peer"
        refuse(turn, "prim", f"{peer} cannot be heard and may be running it", f"make sure that {peer} is off; --force")
    else:
        _want_started(turn)
        turn.set(chosen=True, chosen_alone=not turn.peer.alive, chosen_by_force=force)
        turn.say("this node is to be primary", "prim", by=by, force=str(force).lower())


def _second(turn: Turn, by: str) -> None:
    m = turn.m
    if m.spec.kind is not Kind.MIRROR:
        refuse(turn, "second", f"a {m.spec.kind} has no roles", "`safekit module start`")
    elif m.state in {ALONE, PRIM}:
        refuse(turn, "second", "it is primary", "`safekit module swap`, or stop it first")
    else:
        _want_started(turn)
        turn.set(only_second=True)
        turn.say("this node is to be secondary", "second", by=by)


def act_on_rule(turn: Turn) -> bool:
    """Let the strongest rule act on a module that runs steadily. True when it did."""
    obstacle = swap_obstacle(turn)
    rule = firing.firing(turn, may_swap=not obstacle)
    if rule is None:
        return False
    facts = firing.facts(turn, rule)
    why = f"rule '{rule.label}': {_because(rule, facts)}"
    others = tuple(passed_over(turn, rule))
    if rule.action in {"restart", "stopstart", "wait"} and not turn.count_loop(rule.label):
        turn.begin("stop", f"stopping: {why}, once too often", "max_loops", severity="alarm", facts=facts)
        return True
    if rule.action == "stop":
        turn.set(desired=False)
    if rule.action == "stopstart":
        turn.set(again=True)
    if rule.action == "wait":
        turn.set(wait_rule=rule.label)
    row, before = _ACTIONS[rule.action]
    return turn.begin(row, before + why, rule.label, severity="warning", facts=facts, considered=others)


_ACTIONS: Final = {
    "restart": ("restart", ""),
    "swap": ("swap-out", ""),
    "stopstart": ("stop", "stopping, to start again: "),
    "wait": ("wait", ""),
    "stop": ("stop", "stopping: "),
}
"""The row of the table, and what its reason begins with."""


def passed_over(turn: Turn, acting: rules.Rule | None = None) -> Iterator[str]:
    """The other rules that are true now, and why they do not act."""
    obstacle = swap_obstacle(turn)
    for rule in turn.m.spec.rules:
        if rule is acting or not firing.is_true(turn, rule):
            continue
        held_s = firing.held_s(turn, rule)
        if rule.action == "swap" and obstacle:
            yield f"rule '{rule.label}' (swap): {obstacle}"
        elif held_s < rule.hold_s:
            yield f"rule '{rule.label}' ({rule.action}): true for {held_s:.2f} s of {rule.hold_s:g} s"
        elif acting is not None:
            yield f"rule '{rule.label}' ({rule.action}): '{acting.label}' goes before it"


def _because(rule: rules.Rule, facts: dict[str, str]) -> str:
    """For the first line that an operator reads: what the rule's author says, and the first verdict behind it."""
    name, verdict = next(((name, fact) for name, fact in facts.items() if name != "rule"), ("", ""))
    evidence = f"{name} {verdict}" if name else facts["rule"]
    return f"{rule.message} ({evidence})" if rule.message else evidence


def held_in_wait(turn: Turn) -> bool:
    """Whether a wait rule, or a checker that has not answered yet, keeps the module in WAIT. A hold time is for what
    runs: nothing is started that would be stopped again."""
    m = turn.m
    for rule in m.spec.rules:
        if rule.action == "wait" and (_holds_in_wait(turn, rule) or _is_unanswered(turn, rule)):
            return True
    if m.wait_rule:
        turn.set(wait_rule="")
        turn.say("no wait rule applies any more", "Implicit_wakeup", held_by=m.wait_rule)
    return False


def _holds_in_wait(turn: Turn, rule: rules.Rule) -> bool:
    if not firing.is_true(turn, rule):
        return False
    seen = rules.evidence(rule.condition, turn.m.plain_values(), firing.remote_values(turn))
    why = f"{rule.message}: " * bool(rule.message) + ", ".join(f"{name} is {value}" for name, value in seen.items())
    facts = firing.facts(turn, rule)
    why = f"rule '{rule.label}' holds it: {why}"
    turn.be(WAIT, Readiness.NOT_READY, why, rule.label, severity="warning", facts=facts)
    turn.set(wait_rule=rule.label)
    return True


def _is_unanswered(turn: Turn, rule: rules.Rule) -> bool:
    """SafeKit's: an init value that a wait rule looks at keeps the module waiting."""
    looked_at = [test for test in rules.comparisons(rule.condition) if test.side == "local"]
    for name, value in turn.m.values.items():
        if value.value == "init" and value.reason != NOT_CHECKED and any(test.looks_at(name) for test in looked_at):
            turn.be(WAIT, Readiness.TRANSIENT, f"waiting for the first answer of {name}", rule.label)
            return True
    return False


NOT_CHECKED = "not checked in this state"
"""The reason with which the host resets a checker that it turns off: such an init keeps nobody waiting."""
