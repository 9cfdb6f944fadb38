"""How long things take at the most, computed from the settings: a take-over, a start, a verdict, a rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import BaseModel, ConfigDict

from safekit.config.compiled import CompiledChecker, CompiledModule, CompiledRule, CompiledStep, CompiledWitness
from safekit.engine.fence import AGAIN_S, YIELD_S
from safekit.engine.rules import comparisons
from safekit_sdk import Duration

FENCE: Final = "fence"
"""The plugin whose steps fence."""
_SERVING: Final = {"prim", "both"}
"""The scopes of what has to be started before users are served."""


class Promises(BaseModel):
    """The same in seconds, for programs. None: nothing is promised, because nothing happens by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    lost_s: float
    """A node that says nothing counts as lost."""
    start_s: float
    stop_s: float
    take_over_s: float | None
    """From a crash of the node that serves to the service on the other one, or on the others of a farm."""
    fault_s: float | None
    """From a fault that a checker tells to the service again, by the slowest of the rules."""
    excluded: bool
    """Not two nodes run it, also when they do not hear each other."""
    fences: bool
    """The power of a silent node is cut."""


def promises(module: CompiledModule) -> Promises:
    right_s, slowest = _right_s(module), _slowest(module)
    take_over_s = None if right_s is None else right_s + _after_right_s(module)
    return Promises(
        lost_s=module.heartbeat.lost_after.seconds,
        start_s=_start_s(module),
        stop_s=sum(step.stop_bound_s for step in module.steps),
        take_over_s=module.heartbeat.lost_after.seconds if module.kind == "farm" else take_over_s,
        fault_s=None if slowest is None else slowest[0],
        excluded=module.kind != "mirror" or module.fences or _is_exclusive(module),
        fences=module.fences,
    )


def _is_exclusive(module: CompiledModule) -> bool:
    return module.isolation == "safety" if module.witness is None else module.witness.exclusive


def _start_s(module: CompiledModule) -> float:
    return sum(step.start_bound_s for step in module.steps if _SERVING & set(step.scopes))


def _right_s(module: CompiledModule) -> float | None:
    """Until the other node of a mirror may begin to take over; None where it does not by itself."""
    if module.kind != "mirror" or len(module.nodes) != 2:
        return None
    if module.witness is not None:
        return _lease_bound_s(module.witness)
    if module.fences or module.isolation == "availability":
        return module.heartbeat.lost_after.seconds + (YIELD_S if module.fences and module.has_data else 0.0)
    return None


def _after_right_s(module: CompiledModule) -> float:
    """A secondary has started its fence steps before."""
    if not module.fences:
        return _start_s(module)
    return _fence_bound_s(module) + _start_s(module) - sum(step.start_bound_s for step in _fencing(module))


def bounds(module: CompiledModule) -> Iterator[str]:
    """Detection and start, from the settings: the longest it can take, not what it usually takes."""
    start_s, right_s = _start_s(module), _right_s(module)
    if right_s is not None and module.witness is not None:
        yield _take_over(module, right_s, "its lease runs out within", start_s)
        alone = _rounded(0.5 * module.witness.lease_s)
        yield f"a primary that reaches neither its peer nor the witness is stopped by force after {alone}"
    elif right_s is not None:
        yield _take_over(module, right_s, "noticed after", start_s)
    else:
        yield f"a start takes at most {_rounded(start_s)}"
    if module.kind == "mirror" and len(module.nodes) == 2 and module.fences:
        yield from _fence_bounds(module)
    if module.kind == "farm":
        yield f"a lost node's share goes to the others {module.heartbeat.lost_after} after its last heartbeat"
    yield f"a stop ends within {_rounded(sum(step.stop_bound_s for step in module.steps))}, by force if need be"


def _take_over(module: CompiledModule, right_s: float, by: str, start_s: float) -> str:
    total = _rounded(right_s + _after_right_s(module))
    if not module.fences:
        right, start = _rounded(right_s), _rounded(start_s)
        return f"take-over after a crash: {by} {right}, then at most {start} to start: within {total}"
    fence_s, start_s = _fence_bound_s(module), start_s - sum(step.start_bound_s for step in _fencing(module))
    return (
        f"take-over after a crash: {by} {_rounded(right_s)}, then at most {_rounded(fence_s)} to fence it and "
        f"{_rounded(start_s)} to start: within {total}, if the first attempt to fence succeeds"
    )


def _lease_bound_s(witness: CompiledWitness) -> float:
    """A dead primary's lease runs out by the witness's clock, which may be 10 % slow; it is asked every tenth."""
    return 1.25 * witness.lease_s + witness.timeout_s


def _fence_bounds(module: CompiledModule) -> Iterator[str]:
    yield f"while a lost node cannot be fenced nothing is taken over from it; it is tried again every {AGAIN_S:g}s"
    if module.has_data and module.witness is None:
        held = _rounded(module.heartbeat.lost_after.seconds + _fence_bound_s(module))
        yield f"a primary that loses its secondary acknowledges no write until that one is fenced: at most {held}"


def _fencing(module: CompiledModule) -> list[CompiledStep]:
    return [step for step in module.steps if step.plugin == FENCE]


def _fence_bound_s(module: CompiledModule) -> float:
    """One device after the other. Of a plugin by another name only the bound of the whole pipeline is known."""
    return sum(step.start_bound_s for step in _fencing(module) or module.steps)


def _rounded(seconds: float) -> Duration:
    return Duration(round(seconds, 1))


def order(module: CompiledModule) -> Iterator[str]:
    """The steps as a start takes them."""
    for number, step in enumerate(module.steps, 1):
        start, stop = _rounded(step.start_bound_s), _rounded(step.stop_bound_s)
        if step.restarts:
            notice = f"a restart takes it away for at most {_rounded(step.stop_bound_s + step.start_bound_s)}"
        else:
            notice = "a restart leaves it"
        on = ", ".join(step.scopes)
        yield f"{number}. {step.resource} (on while {on}): started within {start}, stopped within {stop}; {notice}"


def latencies(module: CompiledModule) -> Iterator[str]:
    """A line for each checker, for each rule in force, and for the worst case of all."""
    for checker in module.checkers:
        yield f"checker {checker.resource}: {_told(checker)}"
    for rule in module.rules:
        if rule.enabled:
            yield f"rule {rule.label}: {_acts(rule, module)}"
    yield from _worst_case(module)


def _told(checker: CompiledChecker) -> str:
    verdict_s = _verdict_bound_s(checker)
    if verdict_s is None:
        return "tells a fault as it happens"
    given = checker.effective
    late = "" if given["start_after"] == "0s" else f", but none in the first {given['start_after']}"
    how = f"interval {given['interval']} × fall {given['fall']} + timeout {given['timeout']}"
    return f"a fault is told within {_rounded(verdict_s)} ({how}){late}"


def _verdict_bound_s(checker: CompiledChecker) -> float | None:
    """From a fault just after a look to the verdict; None for one that does not look by the clock. Each look may take
    its whole timeout, and the next begins no earlier than it ends."""
    if not checker.polls:
        return None
    interval_s, timeout_s = (Duration.parse(str(checker.effective[key])).seconds for key in ("interval", "timeout"))
    return interval_s + (int(checker.effective["fall"]) - 1) * max(interval_s, timeout_s) + timeout_s


def _acts(rule: CompiledRule, module: CompiledModule) -> str:
    """With the parts of the time that are not nothing."""
    verdict_s = _seen_s(rule, module)
    known = [("verdict", verdict_s or 0.0), ("for", rule.hold_s), ("handle_time", module.handle_time.seconds)]
    parts = [f"{name} {_rounded(time_s)}" for name, time_s in known if time_s]
    total = _rounded(sum(time_s for _, time_s in known))
    if verdict_s is None:
        return f"{rule.action} {' + '.join(parts) + ' after it became true' if parts else 'as soon as it is true'}"
    return f"{rule.action} within {total} of a fault ({' + '.join(parts)})"


def _seen_s(rule: CompiledRule, module: CompiledModule) -> float | None:
    """The slowest of the checkers that it looks at; None when it looks at nothing that has a bound."""
    tests = [test for test in comparisons(rule.to_rule().condition) if test.side == "local"]
    looked_at = [one for one in module.checkers if any(test.looks_at(one.resource) for test in tests)]
    return max((time_s for one in looked_at if (time_s := _verdict_bound_s(one)) is not None), default=None)


def _worst_case(module: CompiledModule) -> Iterator[str]:
    if (slowest := _slowest(module)) is None:
        return
    total_s, acts_s, rule = slowest
    yield (
        f"a fault that a checker tells: acted on within {_rounded(acts_s)}, the service back within "
        f"{_rounded(total_s)} (rule {rule.label}: {rule.action})"
    )


def _slowest(module: CompiledModule) -> tuple[float, float, CompiledRule] | None:
    """Of all rules that bring the service back: the longest from a fault to the end of what the rule does, and to its
    beginning."""
    found = []
    for rule in module.rules:
        seen_s, done_s = _seen_s(rule, module), _done_s(rule.action, module)
        if rule.enabled and seen_s is not None and done_s is not None:
            acts_s = seen_s + rule.hold_s + module.handle_time.seconds
            found.append((acts_s + done_s, acts_s, rule))
    return max(found, key=lambda one: one[0], default=None)


def _done_s(action: str, module: CompiledModule) -> float | None:
    """None for what does not start anything."""
    serving = [step for step in module.steps if _SERVING & set(step.scopes)]
    if action == "restart":
        return _sum_s(step for step in serving if step.restarts)
    return _sum_s(serving) if action in {"stopstart", "swap"} else None


def _sum_s(steps: Iterable[CompiledStep]) -> float:
    return sum(step.stop_bound_s + step.start_bound_s for step in steps)
