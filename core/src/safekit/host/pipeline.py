"""Walks the pipeline: starts forward, stops back; a failed start is undone; a stop always ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from safekit.bus.messages import Meet, TakeShare
from safekit.engine.actions import Phase
from safekit.host.instances import Check, Step
from safekit.host.watching import Watching
from safekit.plugins import RAISED
from safekit_sdk import BUCKETS, Peer, SafekitError, Scope, Share, Transition

OnStep = Callable[[Step, str, str], None]
_STARTS: Final[dict[Phase, Scope]] = {
    Phase.PRESTART: "pre",
    Phase.START_BOTH: "both",
    Phase.START_PRIM: "prim",
    Phase.START_SECOND: "second",
    Phase.START_SEC: "sec",
}
_STOPS: Final[dict[Phase, Scope]] = {
    Phase.POSTSTOP: "pre",
    Phase.STOP_BOTH: "both",
    Phase.STOP_PRIM: "prim",
    Phase.STOP_SECOND: "second",
    Phase.STOP_SEC: "sec",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    ok: bool
    failed: str = ""
    reason: str = ""
    stuck: bool = False


SHARE_S: Final = 4.0
"""The longest that a resource may take for its share of a farm or its lease."""
SETTLE_S: Final = 2.0
"""The longest that a stop in good order waits for the clients that the kernel has answered already."""
INSPECT_S: Final = 2.0
MEET_S: Final = 5.0


class StartError(Exception):
    def __init__(self, step: Step, reason: str) -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason


def _without_borne(old: Sequence[Step], kept: Mapping[int, Step]) -> dict[int, Step]:
    """What stays, by the identity of the step that is offered for it: without those that stand on one that goes."""
    stays = {id(step) for step in kept.values()}
    first = next((at for at, step in enumerate(old) if id(step) not in stays and step.resource.bears), len(old))
    borne = {id(step) for step in old[first:]}
    return {key: step for key, step in kept.items() if id(step) not in borne}


class Pipeline:
    def __init__(self, steps: Sequence[Step], watching: Watching, on_step: OnStep) -> None:
        self._steps = tuple(steps)
        self._watching = watching
        self._on_step = on_step
        self._begun: list[Step] = []
        self._on: set[Scope] = set()
        self._peer = ""
        """The other node of a mirror, for the run under way."""
        self._met: Meet | None = None
        """What is known of the other node of a mirror."""
        self._offered: tuple[tuple[Step, ...], list[Check]] | None = None

    @property
    def has_started(self) -> bool:
        """Whether anything is started, or may be because it did not stop."""
        return bool(self._on) or any(step.started or step.promoted for step in self._steps)

    @property
    def is_primary(self) -> bool:
        """Whether something of the primary runs, or may."""
        return "prim" in self._on or any(s.promoted or (s.started and s.scope == "prim") for s in self._steps)

    async def offer(self, steps: Sequence[Step], checks: list[Check]) -> None:
        """A new configuration, taken over by the phase `reconfigure`, or at once when nothing is started."""
        self._offered = (tuple(steps), checks)
        if not self.has_started:
            await self._adopt()

    async def _adopt(self) -> tuple[list[Step], list[Step]]:
        """Put the offer in force. Return the old steps to stop, and the new ones that have to be started. Where there
        are any, what is checked is off meanwhile: it would be found down."""
        if self._offered is None:
            return [], []
        steps, checks = self._offered
        self._offered = None
        old = list(self._steps)
        kept = {id(new): same for new in steps if (same := next((o for o in old if o.becomes(new)), None))}
        others = [new for new in steps if id(new) in kept and kept[id(new)].resource.config != new.resource.config]
        stays = len(kept) == len(steps) == len(old)
        changed = {step.name for step in others}
        await self._watching.replace(checks, lambda name: stays and name not in changed)
        failed = [kept.pop(id(step)) for step in others if not await self._changed_live(kept[id(step)], step)]
        kept = _without_borne(old, kept)
        self._steps = tuple(kept.get(id(new), new) for new in steps)
        if failed:
            await self._watching.stop_all()
        return [o for o in old if o not in self._steps], [n for n in self._steps if n not in old]

    async def _changed_live(self, step: Step, wanted: Step) -> bool:
        """Whether the started step took the new settings over; one that did not is stopped with those it had."""
        resource, before = step.resource, step.resource.config
        resource.config = wanted.resource.config
        if not step.started:
            return True
        trouble = await _attempt(resource.reconfigure(before), before.start_timeout.seconds, "the change")
        if trouble:
            resource.config = before
            self._on_step(step, "warning", f"it is stopped and started, as it could not change live: {trouble}")
        return not trouble

    async def _reconfigure(self) -> Outcome:
        gone, new = await self._adopt()
        outcome = await self._stop_steps([step for step in gone if step.started], force=False, leave=True)
        if not outcome.ok:
            return outcome
        for step in new:
            if step.scope in self._on:
                await self._start_step(step)
                if "prim" in self._on and step.scope == "both" and step.resource.promotes():
                    await self._promote(step)
        self._watch_again()
        return Outcome(ok=True)

    def _watch_again(self) -> None:
        for scope in sorted(self._on):
            self._watching.start(scope, [step for step in self._steps if step.started and step.scope == scope])

    async def run(self, phases: Sequence[Phase], change: Transition, *, force: bool, peer: str = "") -> Outcome:
        """Perform the phases in order. After a failed start what this run had started is stopped again."""
        self._begun = []
        self._peer = peer
        for step in self._steps:
            step.resource.change = change
        stuck = Outcome(ok=True)
        for phase in phases:
            try:
                outcome = await self._phase(phase, change, force)
            except StartError as failure:
                undone = await self._stop_steps(self._begun, force=False)
                return Outcome(False, failure.step.name, failure.reason, undone.stuck)
            if not outcome.ok:
                stuck = outcome
        return stuck

    async def _phase(self, phase: Phase, change: Transition, force: bool) -> Outcome:
        if phase in _STARTS:
            return await self._start(_STARTS[phase])
        if phase in _STOPS:
            return await self._stop(_STOPS[phase], force)
        if phase is Phase.TRANSITION:
            return await self._tell(change)
        if phase is Phase.PAIR:
            return await self._pair()
        if phase is Phase.STAND_ALONE:
            return await self._stand_alone()
        if phase is Phase.FENCE:
            return await self._fence()
        if phase is Phase.RESTART:
            return await self._restart()
        if phase is Phase.RECONFIGURE:
            return await self._reconfigure()
        return await self._clean_up()

    async def share(self, order: TakeShare) -> str:
        """Give every started resource its part of a farm's buckets. Return why one did not take it, or nothing."""
        share = Share(
            held=_buckets(order.held),
            moving=_buckets(order.moving),
            owners=order.owners,
            priors=order.priors,
            director=order.director,
            epoch=order.epoch,
        )
        troubles = []
        for step in self._sharing():
            places = {node: text for node, name, text in order.places if name == step.resource.context.name}
            trouble = await _attempt(step.resource.share(replace(share, places=places)), SHARE_S, "the share")
            if trouble:
                troubles.append(f"{step.name}: {trouble}")
        return "; ".join(troubles)

    async def lease(self, seconds: float) -> str:
        """Let every started resource go on serving its share. Return what went wrong, or nothing."""
        works = [(step.name, step.resource.lease(seconds)) for step in self._sharing()]
        troubles = [(name, await _attempt(work, SHARE_S, "the lease")) for name, work in works]
        return "; ".join(f"{name}: {trouble}" for name, trouble in troubles if trouble)

    def _sharing(self) -> list[Step]:
        return [step for step in self._steps if step.started and step.resource.shares()]

    async def inspect(self, question: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """What the started resources say, of each as much as is fit to print."""
        found: dict[str, dict[str, str]] = {}
        for step in self._steps:
            try:
                async with asyncio.timeout(INSPECT_S):
                    said = await step.resource.inspect(question) if step.started else {}
            except RAISED as error:  # a plugin's door
                said = {"error": str(error) or type(error).__name__}
            if said:
                found[step.name] = {str(key)[:64]: str(value)[:2048] for key, value in list(said.items())[:64]}
        return found

    async def _start(self, scope: Scope) -> Outcome:
        for step in self._steps:
            if step.scope == scope and not step.started:
                await self._start_step(step)
            elif scope == "pre" and step.resource.replicates:
                await self._start_step(step)
                self._watching.watch(step.scope, [step])
            elif scope == "prim" and step.scope == "both" and step.resource.promotes():
                await self._promote(step)
        self._on.add(scope)
        self._watching.start(scope, [step for step in self._steps if step.scope == scope])
        return Outcome(ok=True)

    async def _start_step(self, step: Step) -> None:
        self._begun.append(step)
        self._on_step(step, "starting", "")
        timeout_s = step.resource.config.start_timeout.seconds
        trouble = await _attempt(step.resource.start(), timeout_s, "the start")
        if trouble:
            self._on_step(step, "failed", trouble)
            raise StartError(step, trouble)
        step.started = True
        self._on_step(step, "started", "")
        await self._introduce(step)

    async def meet(self, order: Meet) -> None:
        """The other node's resources are there now, for those here that run or will."""
        self._met = order
        for step in self._steps:
            if step.started:
                await self._introduce(step)

    async def _introduce(self, step: Step) -> None:
        if self._met is None or not step.resource.meets():
            return
        place = dict(self._met.places).get(step.resource.context.name, "")
        peer = Peer(self._met.node, self._met.addresses, place)
        trouble = await _attempt(step.resource.meet(peer), MEET_S, f"to learn of {peer.node}")
        if trouble:
            self._on_step(step, "warning", trouble)

    async def _pair(self) -> Outcome:
        """One that does not take it keeps the secondary from being up to date, no more."""
        for step in self._pairing():
            trouble = await _attempt(step.resource.pair(), MEET_S, "the pairing")
            if trouble:
                self._on_step(step, "warning", trouble)
        return Outcome(ok=True)

    async def _stand_alone(self) -> Outcome:
        for step in self._pairing():
            await _require(step, step.resource.stand_alone(), "standing alone")
        return Outcome(ok=True)

    async def _fence(self) -> Outcome:
        """Every device has to confirm it: each may be a part of the other node's power."""
        for step in self._steps:
            if step.resource.fences():
                await _require(step, step.resource.fence(self._peer), "fencing")
        return Outcome(ok=True)

    def _pairing(self) -> list[Step]:
        return [step for step in self._steps if step.started and step.resource.pairs()]

    async def _promote(self, step: Step) -> None:
        self._begun.append(step)
        await _require(step, step.resource.promote(), "the promotion")
        step.promoted = True

    async def _stop(self, scope: Scope, force: bool) -> Outcome:
        await self._watching.stop(scope)
        if scope == "both" and not force:
            for step in self._sharing():
                await _attempt(step.resource.settle(), SETTLE_S, "the last clients")
        self._on.discard(scope)
        concerned = [
            step
            for step in self._steps
            if (step.scope == scope and step.started) or (scope == "prim" and step.promoted)
        ]
        return await self._stop_steps(concerned, force=force, demote=scope == "prim")

    async def _stop_steps(
        self, steps: Sequence[Step], *, force: bool, demote: bool = True, leave: bool = False
    ) -> Outcome:
        """In reverse order. What runs on both nodes is demoted and stays started, unless it is to `leave` or this run
        has started it."""
        result = Outcome(ok=True)
        for step in reversed(steps):
            if demote and step.scope == "both" and (step.promoted or step.resource.promotes()):
                trouble = await self._demote(step, force)
                if step.started and not leave and step not in self._begun:
                    result = result if not trouble else Outcome(False, step.name, trouble, stuck=True)
                    continue
            trouble = await self._stop_step(step, force)
            if trouble:
                result = Outcome(False, step.name, trouble, stuck=True)
        return result

    async def _demote(self, step: Step, force: bool) -> str:
        trouble = await _attempt(step.resource.demote(force), step.resource.config.stop_timeout.seconds, "the demotion")
        if trouble and not force:
            trouble = await _attempt(
                step.resource.demote(True), step.resource.config.force_stop_timeout.seconds, "the forced demotion"
            )
        step.promoted = bool(trouble)
        return trouble

    async def _stop_step(self, step: Step, force: bool) -> str:
        """Gracefully, then by force. Return why it may still run, or nothing."""
        config = step.resource.config
        self._on_step(step, "stopping", "by force" if force else "")
        trouble = "" if force else await _attempt(step.resource.stop(False), config.stop_timeout.seconds, "the stop")
        if force or trouble:
            if trouble:
                self._on_step(step, "stopping", f"by force: {trouble}")
            trouble = await _attempt(step.resource.stop(True), config.force_stop_timeout.seconds, "the forced stop")
        step.started = bool(trouble)
        self._on_step(step, "failed" if trouble else "stopped", trouble)
        return trouble

    async def _restart(self) -> Outcome:
        await self._watching.stop(*(self._on - {"pre"}))
        again = [step for step in self._steps if step.started and step.scope != "pre" and step.resource.restarts]
        outcome = await self._stop_steps(again, force=False, demote=False)
        if not outcome.ok:
            return outcome
        for step in again:
            await self._start_step(step)
        self._watch_again()
        return Outcome(ok=True)

    async def _clean_up(self) -> Outcome:
        await self._watching.stop_all()
        self._on.clear()
        result = Outcome(ok=True)
        for step in reversed(self._steps):
            trouble = await self._stop_step(step, force=True)
            step.promoted = False
            if trouble:
                result = Outcome(False, step.name, trouble, stuck=True)
        return result

    async def _tell(self, change: Transition) -> Outcome:
        for step in self._steps:
            trouble = await _attempt(step.resource.transition(change), 10.0, "the transition script")
            if trouble:
                self._on_step(step, "warning", trouble)
        return Outcome(ok=True)

    async def end(self) -> Outcome:
        """The daemon is gone: stop everything by force."""
        return await self._clean_up()


def _buckets(bits: str) -> frozenset[int]:
    mask = int(bits, 16)
    return frozenset(bucket for bucket in range(BUCKETS) if mask >> bucket & 1)


async def _require(step: Step, work: Awaitable[None], what: str) -> None:
    """StartError when it fails, or takes longer than a start may."""
    if trouble := await _attempt(work, step.resource.config.start_timeout.seconds, what):
        raise StartError(step, trouble)


async def _attempt(work: Awaitable[None], timeout_s: float, what: str) -> str:
    """Return why it failed, or nothing. The work is cancelled at the limit."""
    try:
        async with asyncio.timeout(timeout_s):
            await work
    except TimeoutError:
        return f"{what} took longer than {timeout_s:g} s"
    except SafekitError as error:
        return f"{error.message} ({error.hint})" if error.hint else error.message
    except RAISED as error:  # a plugin's door: whatever it raises is a failed start or stop
        return str(error) or f"{what} failed: {type(error).__name__}"
    return ""
