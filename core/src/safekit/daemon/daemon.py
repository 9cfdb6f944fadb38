"""Joins the parts of safekitd: engine, hosts, node bus, control socket, configuration."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import grp
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

import structlog

from safekit import engine
from safekit.bus import keys
from safekit.bus.control import ControlServer
from safekit.bus.messages import Notify
from safekit.bus.nodes import NodeBus
from safekit.bus.sockets import Context
from safekit.config.compiled import CompiledModule
from safekit.daemon.authoring import Authoring
from safekit.daemon.calendar import Calendar
from safekit.daemon.changes import Changes
from safekit.daemon.configuration import Configuration
from safekit.daemon.dead_man import DeadMan
from safekit.daemon.hosts import HostReports, Hosts
from safekit.daemon.joining import Joining
from safekit.daemon.node_operations import NodeOperations
from safekit.daemon.operations import POWERS, Operations
from safekit.daemon.pace import be_realtime, keep_pace
from safekit.daemon.recorder import Recorder
from safekit.daemon.rollout import Rollout
from safekit.daemon.runtime import Runtime
from safekit.daemon.service_manager import ServiceManager
from safekit.daemon.shared import Shared
from safekit.engine import actions, events
from safekit.engine.actions import Action, Explain
from safekit.engine.reports import Heartbeat
from safekit.journal import FactStore, History
from safekit.settings import Settings
from safekit_sdk import ConfigError
from safekit_sdk.cgroup import module_cgroup, remove_cgroup

log = structlog.get_logger("daemon")
INCARNATION_KEY: Final = "incarnation"
TIDIED: Final = "17 3 * * *"
LEASE_PART: Final = 0.3
SHORTEST_HANG_S: Final = 2.0
LONGEST_HANG_S: Final = 30.0
"""A disk may hang for so long, or for this part of the shortest lease of a witness."""
LAST_WORD_S: Final = 10.0
"""How long a daemon that ends waits, beyond the modules' own stop limits, for a peer to have its word."""


class Daemon:
    """One per node. ConfigError at the start when the node is not set up, or another daemon runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _only_one(settings.run / "safekitd.lock")
        pair = keys.load(settings.key_file)
        self.configuration = Configuration(settings, pair)
        self._facts = FactStore(settings.var / "facts.db")
        self.history = History(settings.var / "history.db")
        incarnation = self._next_incarnation()
        self.changes = Changes(incarnation)
        self.recorder = Recorder(self.history, incarnation, self._decided, self.changes.note)
        self.runtime = Runtime(self.configuration.node, self._facts, self.recorder, self._perform)
        self.dead_man = DeadMan(settings)
        self._manager = ServiceManager()
        self._context = Context()
        reports = HostReports(self.runtime.submit, self.recorder.said, self._compiled)
        self.hosts = Hosts(self._context, settings, reports)
        self.operations = Operations(POWERS[settings.console_may], self._note)
        self.bus = NodeBus(self._context, pair, self._heard, self.operations.remote)
        self._control = ControlServer(settings.control_socket, self.operations.local, _group_id(settings.console_group))
        self.rollout = Rollout(self.configuration, self.bus, self._module_changed, self._is_stopped)
        self._joining = Joining(self._context, pair, self.configuration, self.bus, self.cluster_changed)
        self._calendar = Calendar(self._not_done)
        self._calendar.add("history", TIDIED, self.history.tidy)
        self.started = time.time()
        self._end = asyncio.Event()
        self.end_reason = ""

    def _next_incarnation(self) -> int:
        """Above every earlier one, also of a node that has lost its memory: peers hear nothing of an earlier one."""
        before = self._facts.load(INCARNATION_KEY)
        incarnation = max(int(before or b"0") + 1, int(time.time()))
        self._facts.save(INCARNATION_KEY, str(incarnation).encode())
        return incarnation

    async def run(self) -> None:
        """Serve until a signal, then stop what runs here (the peers take it over) and end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._end.set)
        hosts = await self._set_out()
        loops = [
            hosts,
            asyncio.create_task(self.runtime.commit(), name="commit"),
            asyncio.create_task(keep_pace(self.runtime, self.bus, self._extend, self._interval_s), name="pace"),
        ]
        end = asyncio.create_task(self._end.wait())
        try:
            await asyncio.wait([end, *loops], return_when=asyncio.FIRST_COMPLETED)
            for broken in (task for task in loops if task.done()):
                log.error("the daemon ends", loop=broken.get_name(), error=str(broken.exception()))
            if not any(task.done() for task in loops):
                await self._stop_modules()
        finally:
            await self._close([*loops, end])

    async def _set_out(self) -> asyncio.Task[None]:
        for trouble in await self.configuration.load_modules():
            log.error(trouble)
            self.recorder.said("", "alarm", trouble)
        refused = be_realtime() if self.settings.realtime else ["switched off by SAFEKIT_REALTIME"]
        NodeOperations(self).register(self.operations)
        self.rollout.register(self.operations)
        self._joining.register(self.operations)
        self.changes.register(self.operations)
        Authoring(self.configuration).register(self.operations)
        Shared(self.settings.var / "shared").register(self.operations)
        self.bus.start()
        self.bus.configure(self.configuration.listening(), self.configuration.peers())
        hosts = self.hosts.start()
        self.runtime.submit(events.Configured(self.configuration.membership(), self.configuration.specs()))
        self.runtime.submit(events.Started(self.recorder.incarnation, boot=self._first_since_boot()))
        await self._control.start()
        self._calendar.start()
        self._tell_manager()
        log.info("safekitd runs", node=self.configuration.node, incarnation=self.recorder.incarnation, without=refused)
        self.recorder.said("", "info", f"safekitd started (incarnation {self.recorder.incarnation})")
        return hosts

    def _tell_manager(self) -> None:
        modules = ", ".join(self.configuration.modules) or "none"
        self._manager.ready(f"node {self.configuration.node}, modules: {modules}")

    def _first_since_boot(self) -> bool:
        """The run directory is emptied by a boot."""
        marker = self.settings.run / "booted"
        first = not marker.exists()
        marker.touch()
        return first

    async def _stop_modules(self) -> None:
        """Hand over before going: a stop that does not change what the operator wants to run. Within bounds it waits
        for a peer that can take over only with this node's word."""
        self._manager.stopping()
        bounds = [spec.stop_bound_s for spec in self.configuration.specs()]
        for spec in self.configuration.specs():
            self.runtime.submit(events.CommandGiven(spec.name, events.Command.SHUTDOWN, by="safekitd"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(bounds, default=0.0) + LAST_WORD_S):
                await self._all_left()

    async def _all_left(self) -> None:
        while not all(map(self._is_stopped, self.configuration.modules)) or engine.awaited(self.runtime.node):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _close(self, tasks: list[asyncio.Task[Any]]) -> None:
        self._calendar.close()
        with contextlib.suppress(Exception):
            await self._control.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._joining.close()
        await self.hosts.close()
        for name in self.configuration.modules:
            self._remove_cgroup(name)
        await self.bus.close()
        self.dead_man.close(clean=not self.runtime.rights())
        self.runtime.close()
        self.recorder.said("", "info", "safekitd ended")
        self.history.close()
        self._facts.close()
        self._context.term()

    def _extend(self) -> None:
        """What this node may go on doing, because others have heard it."""
        self._end_with_the_disk()
        self._manager.alive()
        self.hosts.extend_leases(self.runtime.leases())
        self.dead_man.feed([ends.fence_s for _, ends in self.runtime.rights()])

    def _end_with_the_disk(self) -> None:
        """What a disk that hangs keeps from being decided, the others have to decide: they do when this node is silent.
        The hosts end by force what they run, when this process is gone, however it ends."""
        if (hangs_s := self.runtime.disk_hangs_s()) <= SHORTEST_HANG_S:
            return
        leases = [w.lease_s for m in self.configuration.modules.values() if (w := m.compiled.witness) is not None]
        limit_s = LEASE_PART * min(leases) if leases else LONGEST_HANG_S
        if hangs_s > limit_s:
            log.error("the disk takes nothing any more: the daemon ends", seconds=round(hangs_s, 1), limit=limit_s)
            os._exit(1)

    def _interval_s(self) -> float:
        return self.configuration.membership().heartbeat_interval_s

    def _heard(self, network: str, heartbeat: Heartbeat) -> None:
        self.runtime.submit(events.HeartbeatHeard(network, heartbeat))
        for module, report in heartbeat.modules:
            self.rollout.heard_of(heartbeat.node, module, report.signature)

    def _perform(self, action: Action) -> None:
        match action:
            case actions.RunPipeline():
                self.hosts.run(action, None if action.force else self.runtime.host_until_s(action.module))
            case actions.Meet():
                self.hosts.meet(action, self.configuration.addresses(action.node))
            case actions.FenceSelf():
                self.dead_man.reset(action.reason)
            case actions.Publish():
                self.bus.send_beat(self.runtime.heartbeat())
            case actions.Explain():
                pass  # recorded when it was decided
            case _:
                self.hosts.perform(action)

    def _decided(self, decision: Explain) -> None:
        fields = {"module": decision.module, "rule": decision.rule, "before": decision.before, "after": decision.after}
        log.info(decision.decision, severity=decision.severity, **{k: v for k, v in fields.items() if v})
        if decision.before != decision.after:
            change = {"before": decision.before, "after": decision.after, "why": decision.decision}
            self.hosts.notify(decision.module, Notify(hook="state_changed", arguments=change))

    def _compiled(self, module: str) -> tuple[dict[str, Any], dict[str, str]]:
        installed = self.configuration.modules[module]
        cgroup = module_cgroup(self.configuration.node, module)
        settings = {
            "node": self.configuration.node,
            "var_dir": str(self.settings.var),
            "run_dir": str(self.settings.run),
            "control_socket": str(self.settings.control_socket),
            "etc_dir": str(self.settings.etc),
            "cluster": str(self.configuration.cluster.id),
            "cgroup": str(cgroup or ""),
        }
        return installed.compiled.model_dump(mode="json"), settings

    def _module_changed(self, module: str, compiled: CompiledModule | None) -> None:
        if compiled is not None:
            self.hosts.reload(module)
        else:
            self._remove_cgroup(module)
        self.runtime.submit(events.Configured(self.configuration.membership(), self.configuration.specs()))
        self._tell_manager()

    def _remove_cgroup(self, module: str) -> None:
        """If nothing runs in it."""
        if (cgroup := module_cgroup(self.configuration.node, module)) is not None:
            remove_cgroup(cgroup)

    def cluster_changed(self) -> None:
        self.bus.configure(self.configuration.listening(), self.configuration.peers())
        self.runtime.submit(events.Configured(self.configuration.membership(), self.configuration.specs()))

    def _is_stopped(self, module: str) -> bool:
        """For good: not between an automatic restart's stop and its start."""
        known = self.runtime.node.modules.get(module)
        report = dict(engine.reports(self.runtime.node)).get(module)
        rests = report is None or (report.state == "STOP" and not report.active and report.readiness != "Transient")
        return rests and (known is None or not known.wanted)

    def _note(self, module: str, line: str) -> None:
        self.recorder.said(module, "info", line)

    def _not_done(self, job: str, error: str) -> None:
        self.recorder.said("", "warning", f"the daily work on the {job} was not done: {error}")

    def describe(self) -> dict[str, Any]:
        """This node, its peers as it sees them, and its modules, as plain values."""
        node = self.runtime.node
        modules = [self._describe_module(name) for name in sorted(self.configuration.modules)]
        return {
            "node": self.configuration.node,
            "cluster": self.configuration.cluster.name,
            "incarnation": self.recorder.incarnation,
            "started": self.started,
            "pid": os.getpid(),
            "alarms": self._alarms(),
            "peers": [dataclasses.asdict(peer) for peer in engine.peers(node, time.monotonic())],
            "modules": [module for module in modules if module],
        }

    def _describe_module(self, name: str) -> dict[str, Any]:
        view = engine.view(self.runtime.node, name, time.monotonic())
        if view is None:
            return {}
        installed = self.configuration.modules[name]
        return {
            **dataclasses.asdict(view),
            "kind": installed.compiled.kind,
            "revision": installed.revision,
            "steps": self.hosts.steps(name),
            "measured": self.hosts.measured(name),
        }

    def _alarms(self) -> list[str]:
        found = [self.runtime.storage_trouble, self.history.trouble, self.dead_man.trouble]
        if self.history.dropped_lately:
            found.append(f"{self.history.dropped} entries of the history were lost")
        return [trouble for trouble in found if trouble]


def _group_id(name: str) -> int | None:
    """None where there is no such group: root alone may come in then."""
    try:
        return grp.getgrnam(name).gr_gid if name else None
    except KeyError:
        return None


def _only_one(path: Path) -> int:
    """Hold the lock for the life of the process; ConfigError when another daemon has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode().strip()
        os.close(descriptor)
        raise ConfigError(
            f"a safekitd runs on this node already (process {holder or 'unknown'})",
            where=str(path),
            hint="`safekit daemon stop` ends it",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
