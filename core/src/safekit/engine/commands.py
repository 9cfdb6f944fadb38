"""What an operator may ask for, and when it is refused."""

from __future__ import annotations

from safekit.engine import data, rules
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
    if not data.up_to_date(turn.m) and not (turn.m.chosen and turn.m.chosen_by_force):
        return "its data may lack acknowledged writes"
    return ""


def _prim(turn: Turn, force: bool, by: str) -> None:
    m = turn.m
    if m.spec.kind is not Kind.MIRROR:
        refuse(turn, "prim", f"a {m.spec.kind} has no roles", "`safekit module start`")
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
    rule = turn.firing(may_swap=not swap_obstacle(turn))
    if rule is None:
        return False
    facts = turn.rule_facts(rule)
    why = f"rule '{rule.label}': {_because(facts)}"
    if rule.action in {"restart", "stopstart", "wait"} and not turn.count_loop(rule.label):
        turn.begin("stop", f"stopping: {why}, once too often", "max_loops", severity="alarm", facts=facts)
        return True
    if rule.action == "stop":
        turn.set(desired=False)
        return turn.begin("stop", f"stopping: {why}", rule.label, severity="warning", facts=facts)
    if rule.action == "stopstart":
        turn.set(again=True)
        return turn.begin("stop", f"stopping, to start again: {why}", rule.label, severity="warning", facts=facts)
    if rule.action == "wait":
        turn.set(wait_rule=rule.label)
    row = {"restart": "restart", "wait": "wait", "swap": "swap-out"}[rule.action]
    return turn.begin(row, why, rule.label, severity="warning", facts=facts)


def _because(facts: dict[str, str]) -> str:
    """The evidence of the verdict that made the rule true, for the first line that an operator reads."""
    downs = [f"{name} {value}" for name, value in facts.items() if value.startswith("down")]
    return downs[0] if downs else facts["rule"]


def held_in_wait(turn: Turn) -> bool:
    """Whether a wait rule, or a checker that has not answered yet, keeps the module in WAIT."""
    m = turn.m
    for rule in m.spec.rules:
        if rule.action == "wait" and _true_or_unanswered(turn, rule.label):
            return True
    if m.wait_rule:
        turn.set(wait_rule="")
        turn.say("no wait rule applies any more", "Implicit_wakeup")
    return False


def _true_or_unanswered(turn: Turn, label: str) -> bool:
    rule = next(rule for rule in turn.m.spec.rules if rule.label == label)
    looked_at = rules.classes(rule.condition)
    if rules.holds(rule.condition, turn.m.plain_values()):
        downs = [f"{n} is {v.value}" for n, v in turn.m.values.items() if n.partition(".")[0] in looked_at]
        why = f"rule '{label}' holds it: {', '.join(downs) or rule.text}"
        turn.be(WAIT, Readiness.NOT_READY, why, label, severity="warning", facts=turn.rule_facts(rule))
        return True
    waiting = [n for n, v in turn.m.values.items() if v.value == "init" and n.partition(".")[0] in looked_at]
    unanswered = [name for name in waiting if turn.m.values[name].reason != NOT_CHECKED]
    if unanswered:
        turn.be(WAIT, Readiness.TRANSIENT, f"waiting for the first answer of {unanswered[0]}", label)
    return bool(unanswered)


NOT_CHECKED = "not checked in this state"
"""The reason with which the host resets a checker that it turns off: such an init keeps nobody waiting."""
