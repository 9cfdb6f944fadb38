"""The hosts' processes: spawned, watched, bounded in memory and silence, killed; each end is an engine event."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import structlog

from safekit.bus import messages
from safekit.bus.hosts import HostServer, stall_file
from safekit.bus.messages import Message
from safekit.bus.sockets import Context
from safekit.daemon.leftovers import HostRecords
from safekit.engine import events
from safekit.engine.actions import AskWitness, KillHost, Meet, RunPipeline, StartHost, StopHost, TakeShare
from safekit.settings import Settings
from safekit_sdk.cgroup import kill_cgroup

log = structlog.get_logger("hosts")
CHECK_S: Final = 0.5
CLOSE_S: Final = 30.0
"""The longest that hosts may take to end what did not stop by itself when the daemon ends."""
INSPECT_S: Final = 5.0
LEASE_PART: Final = 0.2
MAX_STALL_BYTES: Final = 500
SHORTEST_SILENCE_S: Final = 1.5
"""Three of the host's signs of life."""
STARTUP_S: Final = 30.0
"""The longest that a host may take from its start to the end of importing its plugins."""


@dataclass(eq=False)
class HostProcess:
    module: str
    identity: str
    process: asyncio.subprocess.Process
    started_s: float
    heard_s: float
    silent_s: float
    """The longest that it may say nothing."""
    ready: bool = False
    why: str = ""
    """Why we kill it, when we do."""
    steps: dict[str, dict[str, str]] = field(default_factory=dict)
    measured: dict[str, tuple[float, messages.Measured]] = field(default_factory=dict)
    """What checkers answered last and when, where it changed nothing."""


@dataclass(frozen=True, slots=True)
class HostReports:
    """What the daemon does with what hosts say."""

    submit: Callable[[events.Event], object]
    said: Callable[[str, str, str], None]
    compiled: Callable[[str], tuple[dict[str, Any], dict[str, str]]]
    """A module's compiled configuration and settings."""


class Hosts:
    def __init__(self, context: Context, settings: Settings, reports: HostReports) -> None:
        self._settings = settings
        self._reports = reports
        self._server = HostServer(context, settings.host_socket, self._heard)
        self._hosts: dict[str, HostProcess] = {}
        self._ids = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[int, asyncio.Future[dict[str, dict[str, str]]]] = {}
        self._closing = False
        self._records = HostRecords(settings.run / "hosts")

    def start(self) -> asyncio.Task[None]:
        """Return what hears the hosts from now on; without it none can say anything."""
        self._records.end_all()
        self._spawn_task(self._look_after())
        return self._server.start()

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every host, and with it whatever of its module has not stopped."""
        self._closing = True
        for host in self._hosts.values():
            self._server.send(host.identity, messages.Shutdown())
        ends = [asyncio.create_task(host.process.wait()) for host in self._hosts.values()]
        if ends:
            await asyncio.wait(ends, timeout=CLOSE_S)
        for host in list(self._hosts.values()):
            self._kill(host, "the daemon ends")
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.close()

    def steps(self, module: str) -> list[dict[str, str]]:
        """The resources of the pipeline with their states, in order."""
        host = self._hosts.get(module)
        return list(host.steps.values()) if host else []

    def measured(self, module: str) -> dict[str, dict[str, Any]]:
        """By resource the last answer that changed no verdict, with its age."""
        host = self._hosts.get(module)
        now_s = asyncio.get_running_loop().time()
        found = host.measured if host else {}
        return {
            resource: {"health": m.health, "reason": m.reason, "facts": m.facts, "age_s": round(now_s - at_s, 1)}
            for resource, (at_s, m) in found.items()
        }

    def pids(self) -> dict[str, int]:
        return {module: host.process.pid for module, host in self._hosts.items()}

    def begin(self, module: str) -> None:
        """Start the module's host; HostReady follows, or HostLost."""
        if module not in self._hosts:
            self._spawn_task(self._begin(module))

    async def _begin(self, module: str) -> None:
        identity = f"{module}/{os.getpid()}-{next(self._ids)}"
        argv = [sys.executable, "-m", "safekit.host", module, identity, str(self._settings.host_socket)]
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, start_new_session=True, stdin=asyncio.subprocess.DEVNULL
            )
        except OSError as error:
            self._reports.submit(events.HostLost(module, f"the host could not be started: {error}"))
            return
        now_s = asyncio.get_running_loop().time()
        host = HostProcess(module, identity, process, now_s, now_s, self._settings.host_silent_s)
        self._hosts[module] = host
        stall_file(self._settings.host_socket, module).unlink(missing_ok=True)
        self._records.note(module, process.pid)
        self._spawn_task(self._await_end(host))

    async def _await_end(self, host: HostProcess) -> None:
        code = await host.process.wait()
        if self._hosts.get(host.module) is host:
            del self._hosts[host.module]
        if not self._closing and host.why != "stopped":
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            reason = host.why or f"the host ended by itself with {how} ({self._suspects(host.module)})"
            self._reports.submit(events.HostLost(host.module, reason))

    def end(self, module: str) -> None:
        """The module is stopped and has nothing started: its host may go."""
        host = self._hosts.pop(module, None)
        if host is not None:
            host.why = "stopped"
            if not self._server.send(host.identity, messages.Shutdown()):
                self._kill(host, "stopped")
            asyncio.get_running_loop().call_later(10.0, self._kill, host, "stopped")

    def kill(self, module: str, why: str, *, everything: bool = False) -> None:
        """`everything`: with all processes of the module's cgroup, where the machine has one."""
        host = self._hosts.get(module)
        cgroup = self._reports.compiled(module)[1]["cgroup"] if everything else ""
        if cgroup:
            kill_cgroup(Path(cgroup))
        if host is None and everything:
            return
        if host is None:
            self._reports.submit(events.HostLost(module, why))
        else:
            self._kill(host, why)

    @staticmethod
    def _kill(host: HostProcess, why: str) -> None:
        if host.process.returncode is None:
            host.why = host.why or why
            with contextlib.suppress(ProcessLookupError):
                host.process.kill()

    def perform(self, action: StartHost | StopHost | KillHost | TakeShare | AskWitness) -> None:
        match action:
            case StartHost():
                self.begin(action.module)
            case StopHost():
                self.end(action.module)
            case KillHost():
                self.kill(action.module, action.reason, everything=action.everything)
            case TakeShare():
                self.take_share(action)
            case AskWitness():
                self.ask_witness(action)

    def run(self, order: RunPipeline, until_s: float | None = None) -> None:
        """`until_s`: when the host has to stop by itself what it starts as primary."""
        message = messages.Run(
            run=order.run,
            phases=order.phases,
            before=order.before,
            after=order.after,
            cause=order.cause,
            epoch=order.epoch,
            force=order.force,
            peer=order.peer,
            until_s=until_s,
        )
        self.send(order.module, message)

    def take_share(self, order: TakeShare) -> None:
        message = messages.TakeShare(
            number=order.number,
            epoch=order.epoch,
            held=f"{order.held:x}",
            moving=f"{order.moving:x}",
            owners=order.owners,
            priors=order.priors,
            director=order.director,
            places=order.places,
        )
        self.send(order.module, message)

    def meet(self, order: Meet, addresses: dict[str, str]) -> None:
        """`addresses`: of the other node, by network."""
        self.send(order.module, messages.Meet(node=order.node, addresses=addresses, places=order.places))

    def ask_witness(self, order: AskWitness) -> None:
        asked = messages.AskWitness(number=order.number, call=order.call, epoch=order.epoch, after=order.after)
        self.send(order.module, asked)

    def extend_leases(self, leases: Iterable[tuple[str, float]]) -> None:
        """Lost when there is no host: its resources stop by themselves."""
        for module, until_s in leases:
            self.notify(module, messages.Lease(until_s=until_s if math.isfinite(until_s) else None))

    async def inspect(self, module: str, question: dict[str, str]) -> dict[str, dict[str, str]]:
        """What the module's started resources say; nothing without a host. TimeoutError when it does not answer."""
        host = self._hosts.get(module)
        if host is None or not host.ready:
            return {}
        number = next(self._ids)
        answer: asyncio.Future[dict[str, dict[str, str]]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self.send(module, messages.Inspect(id=number, question=question))
            async with asyncio.timeout(INSPECT_S):
                return await answer
        finally:
            self._asked.pop(number, None)

    def reload(self, module: str) -> None:
        """Give a running host the present configuration; the engine orders when it is taken over."""
        if module in self._hosts:
            compiled, settings = self._reports.compiled(module)
            self.send(module, messages.Load(compiled=compiled, settings=settings))

    def send(self, module: str, message: Message) -> None:
        """A host that cannot be reached is killed, and HostLost tells the engine."""
        host = self._hosts.get(module)
        if host is None or not self._server.send(host.identity, message):
            self.kill(module, "the host cannot be reached")

    def notify(self, module: str, message: Message) -> None:
        """For observers: lost when there is no host."""
        host = self._hosts.get(module)
        if host is not None and host.ready:
            self._server.send(host.identity, message)

    def _heard(self, identity: str, message: Any) -> None:
        host = self._hosts.get(identity.partition("/")[0])
        if host is None or host.identity != identity:
            return
        host.heard_s = asyncio.get_running_loop().time()
        if isinstance(message, messages.Hello):
            compiled, settings = self._reports.compiled(host.module)
            host.silent_s = min(host.silent_s, _silence_s(compiled))
            self._server.send(identity, messages.Load(compiled=compiled, settings=settings))
        elif isinstance(message, messages.Loaded):
            self._loaded(host, message)
        elif isinstance(message, messages.StepState):
            self._step(host, message)
        elif isinstance(message, messages.Measured):
            host.measured[message.resource] = (host.heard_s, message)
        else:
            if isinstance(message, messages.VerdictSaid):
                host.measured.pop(message.resource, None)
            self._forward(host.module, message)

    def _loaded(self, host: HostProcess, message: messages.Loaded) -> None:
        if message.error is not None:
            self._kill(host, f"{message.error.message} {message.error.hint}".strip())
            return
        host.ready = True
        self._reports.submit(events.HostReady(host.module))

    def _step(self, host: HostProcess, message: messages.StepState) -> None:
        key = f"{message.step}/{message.scope}"
        host.steps[key] = {
            "step": message.step,
            "scope": message.scope,
            "state": message.state,
            "detail": message.detail,
        }
        trouble = message.state in {"failed", "warning"}
        line = f"{message.step}: {message.state} {message.detail}".strip()
        self._reports.said(host.module, "warning" if trouble else "info", line)

    def _forward(self, module: str, message: Any) -> None:
        submit = self._reports.submit
        if isinstance(message, messages.ShareDone):
            submit(events.ShareTaken(module, message.number, message.ok, message.reason))
        elif isinstance(message, messages.WitnessSaid):
            submit(events.WitnessAnswered(module, **message.model_dump(exclude={"v", "kind"})))
        elif isinstance(message, messages.Inspected):
            answer = self._asked.get(message.id)
            if answer is not None and not answer.done():
                answer.set_result(message.facts)
        elif isinstance(message, messages.Finished):
            submit(
                events.PipelineFinished(module, message.run, message.ok, message.failed, message.reason, message.stuck)
            )
        elif isinstance(message, messages.VerdictSaid):
            submit(events.VerdictChanged(module, message.resource, message.health, message.reason, message.facts))
        elif isinstance(message, messages.ValueSaid):
            submit(events.ValueSet(module, message.resource, message.value, by="plugin"))
        elif isinstance(message, messages.LogLine):
            self._reports.said(module, message.severity, message.line)

    async def _look_after(self) -> None:
        """Tell hosts that we live; kill those that are silent, slow to come up, or too large."""
        loop = asyncio.get_running_loop()
        turns = itertools.count()
        last_s = loop.time()
        while True:
            await asyncio.sleep(CHECK_S)
            now_s = loop.time()
            we_slept = now_s - last_s > 4 * CHECK_S
            last_s = now_s
            large = next(turns) % 10 == 0
            for host in list(self._hosts.values()):
                self._server.send(host.identity, messages.DaemonAlive())
                if we_slept:
                    host.heard_s = now_s
                self._judge(host, now_s, measure=large)

    def _judge(self, host: HostProcess, now_s: float, *, measure: bool) -> None:
        silent_s = now_s - host.heard_s
        if not host.ready:
            if now_s - host.started_s > STARTUP_S:
                suspects = self._suspects(host.module)
                self._kill(
                    host, f"the host was not ready after {STARTUP_S:g} s (held up while it is imported: {suspects})"
                )
        elif silent_s > host.silent_s:
            self._kill(host, f"the host was silent for {silent_s:.1f} s (blocked by {self._suspects(host.module)})")
        elif measure and (used := _memory_mib(host.process.pid)) > self._settings.host_memory_mib:
            limit = self._settings.host_memory_mib
            suspects = self._suspects(host.module)
            self._kill(host, f"the host used {used} MiB, over its limit of {limit} MiB (leaked by {suspects})")

    def _suspects(self, module: str) -> str:
        """The plugin that the host has said is in its way, or else all that it runs."""
        with contextlib.suppress(OSError), stall_file(self._settings.host_socket, module).open("rb") as file:
            return file.read(MAX_STALL_BYTES).decode(errors="replace")
        with contextlib.suppress(KeyError):
            packages = self._reports.compiled(module)[0]["packages"]
            named = ", ".join(f"{name} {version}" for name, version in packages.items())
            return f"one of the packages {named}" if len(packages) > 1 else f"package {named}"
        return "a plugin"


def _silence_s(compiled: dict[str, Any]) -> float:
    """A host that stands still cannot stop what has to be stopped before a lease ends."""
    witness = compiled.get("witness")
    return math.inf if witness is None else max(LEASE_PART * witness["lease_s"], SHORTEST_SILENCE_S)


def _memory_mib(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss >> 20)
    except psutil.Error:
        return 0
