"""The host's loop: orders from the daemon in, verdicts and outcomes out."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import structlog

from safekit.bus import messages
from safekit.bus.hosts import HostClient
from safekit.bus.messages import (
    AskWitness,
    Inspect,
    Lease,
    Load,
    LogLine,
    Meet,
    Notify,
    Run,
    Shutdown,
    TakeShare,
    WitnessSaid,
)
from safekit.config.compiled import CompiledModule
from safekit.host.asking import Asking
from safekit.host.instances import Maker, Step, Surroundings
from safekit.host.pipeline import Pipeline
from safekit.host.watching import Watching
from safekit.plugins import Observers
from safekit_sdk import SafekitError, Transition, Verdict

log = structlog.get_logger("host")
ALIVE_S: Final = 0.5
LEASE_FAILURES: Final = 20
"""So many in a row end the host: its resources serve no more, and the others are to know it."""
ORPHAN_AFTER_S: Final = 3.0
"""Without a word from the daemon for this long (or at once when it died) the host stops everything by force:
a daemon that is silent here is silent to the peer as well, which may take over."""


class Host:
    def __init__(self, client: HostClient, pid: int, turned: Callable[[], None] = lambda: None) -> None:
        """`turned` is called while the loop turns."""
        self._client = client
        self._pid = pid
        self._turned = turned
        self._pipeline: Pipeline | None = None
        self._watching: Watching | None = None
        self._observers = Observers()
        self._run: asyncio.Task[None] | None = None
        self._beside: set[asyncio.Task[None]] = set()
        self._forced = False
        """The run under way stops by force."""
        self._healths: dict[str, str] = {}
        self._last_heard = 0.0
        self._lease_trouble = ""
        self._lease_failures = 0
        self._asking: Asking | None = None
        self._right_ends: asyncio.TimerHandle | None = None
        """When a primary that a witness decides on is stopped by force, unless the daemon says more."""
        self._ending: asyncio.Task[None] | None = None
        """Ends everything by force; no order is taken any more."""
        self._ended = asyncio.Event()

    async def serve(self) -> None:
        """Run until told to end, or until the daemon is gone."""
        loop = asyncio.get_running_loop()
        self._last_heard = loop.time()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._orphaned, "the daemon is gone")
        self._client.send(messages.Hello(pid=self._pid))
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._tell_alive())]
        await self._ended.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._observers.close()

    async def _tell_alive(self) -> None:
        loop = asyncio.get_running_loop()
        turned_s = loop.time()
        while True:
            self._turned()
            self._client.send(messages.HostAlive())
            if loop.time() - turned_s > ORPHAN_AFTER_S / 2:
                self._last_heard = loop.time()  # this process stood still, and the daemon may have done so with it
            turned_s = loop.time()
            if loop.time() - self._last_heard > ORPHAN_AFTER_S:
                self._orphaned(f"the daemon was silent for {ORPHAN_AFTER_S:g} s")
            await asyncio.sleep(ALIVE_S)

    def _orphaned(self, why: str) -> None:
        if self._ending is None:
            log.error("stopping everything by force", why=why)
            self._ending = asyncio.create_task(self._end_by_force())

    async def _end_by_force(self) -> None:
        await self._stop_by_force()
        self._ended.set()

    async def _stop_by_force(self) -> None:
        if self._run is not None:
            self._run.cancel()
            await asyncio.wait([self._run], timeout=1.0)
        if self._pipeline is not None:
            await self._pipeline.end()

    async def _listen(self) -> None:
        while True:
            try:
                message = await self._client.receive()
            except SafekitError as error:
                log.error("the daemon's message was refused", error=error.message)
                continue
            self._last_heard = max(self._last_heard, asyncio.get_running_loop().time())
            await self._obey(message)

    async def _obey(self, message: Any) -> None:
        if isinstance(message, Load):
            await self._load(message)
        elif isinstance(message, Run):
            self._begin(message)
        elif isinstance(message, TakeShare):
            await self._take_share(message)
        elif isinstance(message, Lease):
            await self._extend_lease(message)
        elif isinstance(message, AskWitness):
            self._ask_witness(message)
        elif isinstance(message, Meet):
            self._later(self._meet(message))
        elif isinstance(message, Inspect):
            self._later(self._inspect(message))
        elif isinstance(message, Notify):
            self._observers.notify(message.hook, **message.arguments)
        elif isinstance(message, Shutdown):
            await self._shut_down()

    async def _meet(self, order: Meet) -> None:
        if self._pipeline is not None:
            await self._pipeline.meet(order)

    async def _shut_down(self) -> None:
        """The module is stopped, or did not stop in time and is ended by force: a host leaves nothing behind."""
        if self._pipeline is not None and self._pipeline.has_started:
            await self._stop_by_force()
        if self._watching is not None:
            await self._watching.close()
        if self._asking is not None:
            await self._asking.close()
        self._ended.set()

    async def _load(self, message: Load) -> None:
        try:
            await self._build(CompiledModule.model_validate(message.compiled), message.settings)
        except Exception as error:  # plugins are imported here: anything may happen
            self._client.send(messages.Loaded(error=messages.error_body(error)))
            return
        self._client.send(messages.Loaded())

    async def _build(self, module: CompiledModule, settings: dict[str, str]) -> None:
        around = Surroundings(
            node=settings["node"],
            var_dir=Path(settings["var_dir"]),
            run_dir=Path(settings["run_dir"]),
            cluster=settings.get("cluster", ""),
            cgroup=Path(settings["cgroup"]) if settings.get("cgroup") else None,
            control_socket=Path(settings.get("control_socket", "")),
        )
        maker = Maker(module, around, self._set_value, self._log)
        steps = maker.steps()
        if self._pipeline is not None:
            await self._pipeline.offer(steps, maker.checks())
            return
        self._watching = Watching(maker.checks(), self._say, self._check_failed, self._measured)
        self._pipeline = Pipeline(steps, self._watching, self._step_changed)
        witness = maker.witness()
        if witness is not None:
            self._asking = Asking(witness, f"{around.cluster}/{module.name}", around.node, self._client.send)
        self._observers.start(module=module.name, node=settings["node"])

    def _begin(self, order: Run) -> None:
        if self._ending is not None:
            return  # the daemon is told by the end of this process
        if self._pipeline is None or (self._run is not None and not self._run.done()):
            reason = "a run is still under way" if self._pipeline else "no configuration is loaded"
            self._client.send(messages.Finished(run=order.run, ok=False, reason=reason))
            return
        self._forced = order.force
        if order.until_s is not None:
            self._extend_right(order.until_s)
        self._run = asyncio.create_task(self._perform(self._pipeline, order))

    async def _perform(self, pipeline: Pipeline, order: Run) -> None:
        change = Transition(order.before, order.after, order.cause, order.epoch)
        began_s = asyncio.get_running_loop().time()
        if order.cause == "takeover":
            self._observers.notify("failover_started", epoch=order.epoch, why=order.cause)
        outcome = await pipeline.run(order.phases, change, force=order.force, peer=order.peer)
        if order.cause == "takeover" and outcome.ok:
            took_s = asyncio.get_running_loop().time() - began_s
            self._observers.notify("failover_done", epoch=order.epoch, duration_s=took_s)
        if not pipeline.is_primary:
            self._extend_right(None)
        self._client.send(
            messages.Finished(
                run=order.run,
                ok=outcome.ok,
                failed=outcome.failed,
                reason=outcome.reason[:4000],
                stuck=outcome.stuck,
            )
        )

    async def _take_share(self, order: TakeShare) -> None:
        """Nothing is accepted any more once everything is ended: that is the answer's truth then."""
        trouble = "" if self._pipeline is None else await self._pipeline.share(order)
        self._client.send(messages.ShareDone(number=order.number, ok=not trouble, reason=trouble[:4000]))

    async def _extend_lease(self, lease: Lease) -> None:
        """What waited in the queue while this process stood still is worth only what is left of it."""
        if self._pipeline is None or self._ending is not None:
            return
        if self._asking is not None or lease.until_s is None:
            self._extend_right(lease.until_s)
            return
        seconds = lease.until_s - time.monotonic()
        if seconds <= 0:
            return
        trouble = await self._pipeline.lease(seconds)
        self._lease_failures = self._lease_failures + 1 if trouble else 0
        if self._lease_failures >= LEASE_FAILURES:
            self._orphaned(f"the lease cannot be extended: {trouble}")
        if trouble != self._lease_trouble:
            self._lease_trouble = trouble
            if trouble:
                self._client.send(LogLine(line=trouble[:4000], severity="warning"))

    def _extend_right(self, until_s: float | None) -> None:
        """What has ended when it is heard ends at once, unless the daemon has ordered the stop."""
        if self._right_ends is not None:
            self._right_ends.cancel()
            self._right_ends = None
        if until_s is not None:
            seconds = max(until_s - time.monotonic(), 0.0)
            self._right_ends = asyncio.get_running_loop().call_later(seconds, self._end_of_right)

    def _end_of_right(self) -> None:
        """A start that is under way is ended as well: it would go on past the right."""
        runs = self._run is not None and not self._run.done()
        primary = self._pipeline is not None and self._pipeline.is_primary
        if (primary or runs) and not (runs and self._forced):
            self._orphaned("its right to run ends, and the daemon says nothing")

    def _ask_witness(self, asked: AskWitness) -> None:
        if self._asking is None:
            self._client.send(WitnessSaid(number=asked.number, reached=False, text="no witness is configured"))
        else:
            self._asking.ask(asked)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Beside what the daemon says next: a plugin that takes its time must not make the daemon seem silent."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _inspect(self, asked: Inspect) -> None:
        facts = {} if self._pipeline is None else await self._pipeline.inspect(asked.question)
        self._client.send(messages.Inspected(id=asked.id, facts=facts))

    def _say(self, resource: str, verdict: Verdict) -> None:
        before, after = self._healths.get(resource, "init"), verdict.health.value
        if before != after:
            self._healths[resource] = after
            self._observers.notify(
                "verdict_changed", checker=resource, before=before, after=after, reason=verdict.reason
            )
        self._client.send(messages.VerdictSaid(**_bounded(resource, verdict)))

    def _measured(self, resource: str, verdict: Verdict) -> None:
        self._client.send(messages.Measured(**_bounded(resource, verdict)))

    def _check_failed(self, resource: str, trouble: str) -> None:
        self._client.send(LogLine(line=f"{resource}: {trouble}"[:4000], severity="warning"))
        self._observers.notify("check_failed", checker=resource, error=trouble)

    def _step_changed(self, step: Step, state: str, detail: str) -> None:
        self._client.send(messages.StepState(step=step.name, scope=step.scope, state=state, detail=detail[:4000]))

    def _set_value(self, resource: str, value: str) -> None:
        self._client.send(messages.ValueSaid(resource=resource, value=value))

    def _log(self, line: str) -> None:
        self._client.send(LogLine(line=line[:4000]))


def _bounded(resource: str, verdict: Verdict) -> dict[str, Any]:
    """As much of it as a message holds."""
    facts = {key[:64]: str(value)[:512] for key, value in list(verdict.facts.items())[:32]}
    return {
        "resource": resource,
        "health": verdict.health.value,
        "reason": verdict.reason[:4000],
        "facts": facts,
    }
