"""The right to be primary, where a witness decides who may.

A primary runs the module as long as it has a right to, and stops it by force before the right can pass to its peer.
It has it from one of two:

- the witness's lease: nobody else gets one before it has run out, counted from before it was asked for;
- the peer's promise: who is not primary takes over without the other's word only when it has heard nothing of it for
  the time of a lease. A primary knows from the echo in the peer's heartbeats which of its own were heard, and when it
  had sent them. So a witness that is lost while both nodes hear each other stops nothing.

Times are counted on this node's own clock, and used to `USABLE` only: two clocks that each go wrong by 10 % agree that
0.8 of a lease has passed on one before all of it has on the other (0.8 < 0.9 / 1.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from safekit.engine.actions import AskWitness, FenceSelf, KillHost, WitnessCall
from safekit.engine.around import PeerView
from safekit.engine.events import WitnessAnswered
from safekit.engine.lease import Right
from safekit.engine.module import LEAP, HostState, Module, Turn, Value
from safekit.engine.spec import Kind, WitnessSpec

USABLE: Final = 0.8
STOPS: Final = 0.3
"""The part of a lease that is kept for a forced stop, at the end of what is usable."""
HOSTS: Final = 0.25
"""The part of a lease at whose begin the module's host stops by itself what the daemon has not begun to stop."""
FENCES: Final = 0.1
"""The part of a lease, at the very end, in which a node that did not stop is reset."""
AGAIN: Final = 0.1
"""The part of a lease after which it is renewed, or asked for again."""
PROBED_S: Final = 10.0
UNREACHED: Final = 2
"""After so many calls in a row without an answer the witness counts as lost."""
LONGEST_S: Final = 3600.0
TOO_LATE: Final = "it did not stop before its right to run ended"


@dataclass(frozen=True, slots=True)
class Limits:
    """When a primary has to have stopped, on its own clock; never, where no witness decides."""

    stop_s: float = math.inf
    """The forced stop begins."""
    host_s: float = math.inf
    """The host begins it by itself."""
    fence_s: float = math.inf
    """What has not stopped is ended with the node."""


NEVER: Final = Limits()


def witness_of(module: Module) -> WitnessSpec | None:
    """The witness, where there is something to decide."""
    spec = module.spec
    return spec.witness if spec.kind is Kind.MIRROR and len(spec.nodes) > 1 else None


def limits(module: Module, promised_s: float) -> Limits:
    """`promised_s`: until when the peer's promise holds."""
    witness = witness_of(module)
    if witness is None or module.right.by_force:
        return NEVER
    until_s = max(module.right.until_s, module.right.promised_s, promised_s)
    stop_s, host_s, fence_s = (until_s - part * witness.lease_s for part in (STOPS, HOSTS, FENCES))
    return Limits(stop_s, host_s, max(fence_s, _patience_s(module, witness)))


def _patience_s(module: Module, witness: WitnessSpec) -> float:
    """A node is reset only after the stop had its time: a right may be seen to have ended late, after a pause."""
    begun_s = module.right.stopping_s
    return begun_s + (STOPS - FENCES) * witness.lease_s if math.isfinite(begun_s) else -math.inf


def promised_until_s(peer: PeerView) -> float:
    """Until when the peer does not take over, as it heard of this node."""
    if peer.report is None or peer.report.active:
        return -math.inf
    return peer.echo_s + USABLE * peer.report.lease_s


def with_promise(module: Module, peer: PeerView) -> Module:
    """What a primary was promised holds, whatever the peer says from now on; `peer` as it was until now."""
    promised_s = promised_until_s(peer)
    if witness_of(module) is None or not module.active or promised_s <= module.right.promised_s:
        return module
    return replace(module, right=replace(module.right, promised_s=promised_s))


def enforce(turn: Turn) -> bool:
    """Stop by force what has the right to run no more. True when nothing else is to be decided."""
    m = turn.m
    ends = limits(m, promised_until_s(turn.peer))
    if not m.active or turn.now_s < ends.stop_s:
        _set(turn, stopping_s=math.inf)
        return False
    _set(turn, stopping_s=min(m.right.stopping_s, turn.now_s))
    ends = limits(turn.m, promised_until_s(turn.peer))
    if turn.now_s >= ends.fence_s and not m.right.fenced:
        _set(turn, fenced=True)
        turn.say(f"{TOO_LATE}: its processes are killed, the node is to be reset", "self-fence", severity="alarm")
        if m.run is not None:
            turn.set(run=replace(m.run, killed=True, blameless=True))
        turn.actions.append(KillHost(m.spec.name, TOO_LATE, everything=True))
        turn.actions.append(FenceSelf(m.spec.name, TOO_LATE))
    if m.run is not None:
        if not m.run.force and not m.run.killed:
            turn.kill_host(_lost(turn), blameless=True)
            turn.say(f"{_lost(turn)}; '{m.run.row.name}' is broken off", "right-lost", severity="alarm")
        return True
    if m.cleanup:
        return False
    return turn.begin("wait", f"{_lost(turn)}: stopping by force", "right-lost", force=True, severity="alarm")


def _lost(turn: Turn) -> str:
    why = turn.m.right.trouble or "it gave the right to run to nobody here"
    return f"neither {turn.peer.node} nor the witness lets it run ({why})"


def has(turn: Turn) -> bool:
    """Whether this node has the lease, for long enough to start with. Marks that it is wanted."""
    turn.wants_lease = True
    witness = witness_of(turn.m)
    if witness is None:
        return False
    return bool(turn.m.right.epoch) and turn.now_s < turn.m.right.until_s - STOPS * witness.lease_s


def suffices(turn: Turn) -> bool:
    """Whether what the peer's word gives this node is promised for long enough to start with."""
    return turn.now_s < limits(turn.m, promised_until_s(turn.peer)).stop_s


def may_ask_s(turn: Turn) -> float:
    """When the promises that this node made to its peer have ended."""
    return turn.peer.promised_s + lease_s(turn)


def is_exclusive(turn: Turn) -> bool:
    witness = witness_of(turn.m)
    return witness is not None and witness.exclusive


def lease_s(turn: Turn) -> float:
    witness = witness_of(turn.m)
    return witness.lease_s if witness else 0.0


def keep(turn: Turn) -> None:
    """Ask the witness for what is needed now. At the end of a turn, when it is known what is wanted."""
    witness, m = witness_of(turn.m), turn.m
    if witness is None:
        return
    if m.right.call and turn.now_s >= m.right.due_s:
        _unreached(turn, witness, "it did not answer in time")
    if turn.m.host is not HostState.READY or turn.m.right.call:
        return
    call = _next(turn)
    hasty = call is WitnessCall.RELEASE or (call is not WitnessCall.PROBE and not turn.m.right.eager)
    if hasty or turn.now_s >= turn.m.right.next_s:
        _ask(turn, witness, call)


def _next(turn: Turn) -> WitnessCall:
    """Who only makes sure that nothing runs any more keeps what it has, and asks for nothing new."""
    right = turn.m.right
    if turn.m.is_primary and right.epoch < turn.m.announced:
        return WitnessCall.ACQUIRE
    if turn.m.is_primary or turn.wants_lease:
        return WitnessCall.RENEW if right.epoch else WitnessCall.ACQUIRE
    if turn.m.active and right.epoch:
        return WitnessCall.RENEW
    return WitnessCall.RELEASE if right.epoch else WitnessCall.PROBE


def give_back(turn: Turn) -> None:
    """Nothing of the primary runs any more. The host ends no sooner than this call."""
    witness = witness_of(turn.m)
    if witness is not None and turn.m.right.epoch and turn.m.host is HostState.READY:
        _ask(turn, witness, WitnessCall.RELEASE)


def _ask(turn: Turn, witness: WitnessSpec, call: WitnessCall) -> None:
    right = turn.m.right
    number = right.number + 1
    epoch = max(right.epoch, turn.m.announced) or turn.m.epoch + (0 if turn.m.is_primary else LEAP)
    after = turn.m.epoch if turn.m.spec.has_data and not turn.m.is_primary else None
    turn.actions.append(AskWitness(turn.m.spec.name, number, call, epoch, after))
    wait_s = PROBED_S if call is WitnessCall.PROBE else AGAIN * witness.lease_s
    due_s = turn.now_s + witness.timeout_s + 1.0
    eager = call is not WitnessCall.PROBE
    released = call is WitnessCall.RELEASE
    _set(turn, number=number, call=call, asked_s=turn.now_s, due_s=due_s, next_s=turn.now_s + wait_s, eager=eager)
    if released:
        _set(turn, epoch=0, until_s=-math.inf)


def answered(turn: Turn, event: WitnessAnswered) -> None:
    right, witness = turn.m.right, witness_of(turn.m)
    if witness is None or event.number != right.number or not right.call:
        return
    if not event.reached:
        _unreached(turn, witness, event.text)
        return
    _reached(turn, witness, event.text)
    if right.call in {WitnessCall.ACQUIRE, WitnessCall.RENEW}:
        if event.granted:
            until_s = right.asked_s + USABLE * min(event.ttl_s, LONGEST_S)
            _set(turn, epoch=event.epoch, until_s=max(right.until_s, until_s), by_force=False, fenced=False, trouble="")
            _make_known(turn, event.epoch)
        else:
            again = turn.now_s if right.call == WitnessCall.RENEW else right.next_s
            _set(turn, epoch=0, trouble=event.text, next_s=again)
    _set(turn, call="")


def _make_known(turn: Turn, epoch: int) -> None:
    """A secondary asks for a lease with the greatest epoch that it has heard of."""
    if turn.m.is_primary and epoch > turn.m.epoch:
        turn.set(epoch=epoch)
        turn.publish()


def _reached(turn: Turn, witness: WitnessSpec, text: str) -> None:
    if turn.m.right.failures >= UNREACHED:
        turn.say("the witness answers again", "witness-reached")
    _set(turn, failures=0)
    _show(turn, witness, "up", text)


def _unreached(turn: Turn, witness: WitnessSpec, why: str) -> None:
    failures = turn.m.right.failures + 1
    _set(turn, call="", failures=failures, trouble=f"the witness cannot be reached: {why}")
    if turn.m.right.eager:
        _set(turn, next_s=min(turn.m.right.next_s, turn.now_s + AGAIN * witness.lease_s))
    if failures < UNREACHED:
        return
    if failures == UNREACHED:
        turn.say(
            f"the witness cannot be reached: {why}",
            "witness-lost",
            severity="alarm",
            prevent="nothing stops while both nodes hear each other; without it no node can take over from a dead one",
        )
    _show(turn, witness, "down", why)


def _show(turn: Turn, witness: WitnessSpec, value: str, text: str) -> None:
    known = turn.m.values.get(witness.resource)
    since_s = known.since_s if known is not None and known.value == value else turn.now_s
    if known is None or (known.value, known.reason) != (value, text):
        turn.set(values={**turn.m.values, witness.resource: Value(value, text, since_s)})


def unknown(module: Module, now_s: float) -> Right:
    """A daemon that starts does not know what right an earlier one had. Its host has ended everything by force, or does
    so now; a node that cannot is reset after the usual time for a stop."""
    witness = witness_of(module)
    if witness is None or not module.active:
        return module.right
    return replace(module.right, until_s=now_s + (STOPS + FENCES) * witness.lease_s)


def forget_call(turn: Turn) -> None:
    """The host that was to ask is gone."""
    if turn.m.right.call:
        _set(turn, call="", next_s=turn.now_s)


def by_force(turn: Turn) -> None:
    """The operator answers for it that nobody else runs the module, until a lease or the peer is there again."""
    if witness_of(turn.m) is not None:
        _set(turn, by_force=True)


def begin_turn(turn: Turn) -> None:
    """A new role has its own promises. What the operator answered for ends when the peer lets it run, or runs too."""
    right = turn.m.right
    if not turn.m.active:
        _set(turn, promised_s=-math.inf, fenced=False)
    if right.by_force and turn.peer.alive:
        own = replace(turn.m, right=replace(turn.m.right, by_force=False))
        is_let = turn.now_s < limits(own, promised_until_s(turn.peer)).stop_s
        _set(turn, by_force=not turn.peer.runs and not is_let)


def _set(turn: Turn, **changes: object) -> None:
    turn.set(right=replace(turn.m.right, **changes))  # type: ignore[arg-type]
