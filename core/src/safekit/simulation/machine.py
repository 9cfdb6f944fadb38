"""One machine: its power, its clock, its disk, and what really runs on it."""

from __future__ import annotations

import math
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from safekit import engine
from safekit.engine import events, membership
from safekit.engine.right import Limits
from safekit.engine.spec import MembershipSpec, ModuleSpec
from safekit.simulation.daemon import Daemon
from safekit.simulation.host import Host
from safekit.simulation.replication import Data
from safekit.simulation.scenario import MODULE, Ills, Scenario, Timing
from safekit.simulation.schedule import Schedule, Work
from safekit.simulation.witness import Witness

if TYPE_CHECKING:
    from safekit.simulation.network import Network
    from safekit.simulation.watch import Watch

ORPHAN_S = 3.0
SHUT_DOWN_S = 10.0
RESET_S = 3.0
FENCE_FAILS = 0.2
LONG_S = 1e6


class Machine:
    def __init__(
        self, name: str, scenario: Scenario, schedule: Schedule, rng: Random, network: Network, watch: Watch
    ) -> None:
        self.name = name
        self.scenario = scenario
        self.schedule = schedule
        self.rng = rng
        self.network = network
        self.watch = watch
        self.rate = scenario.rates[scenario.nodes.index(name)]
        self._clock_from_s = 1000.0 * (1 + scenario.nodes.index(name))
        self._stands_since_s: float | None = None
        """The clock stands still since then."""
        self.module: ModuleSpec = scenario.module
        self.timing = scenario.timing
        self.ills = Ills()
        self.disk: engine.Durable | None = None
        self.incarnation = 0
        self.data = Data()
        self.primary = False
        """Resources of the primary are on."""
        self.accepted = 0
        """A farm's buckets that its kernel accepts while the lease lasts, a bit for each."""
        self._lease_until_s = self.primary_until_s = self.meant_until_s = -math.inf
        self.witness: Witness | None = None
        self.suspended = False
        """The whole machine stands still."""
        self.resumed_s = self.fenced_s = -math.inf
        self._fed = 0
        self.powered = self.retired = False
        """Retired: it is not switched on any more."""
        self.daemon: Daemon | None = None
        self.host: Host | None = None
        self.heard_s: dict[str, float] = {}
        """True time of the last heartbeat that its daemon took in, per node."""
        self.thawed_s = 0.0
        """When it was thawed or its daemon started: what it heard before is not listening."""
        self.woke_s = -math.inf
        self._crash_at_save = False
        self._frozen_s = self._stopped_s = 0.0

    def local_s(self) -> float:
        now_s = self.schedule.now_s if self._stands_since_s is None else self._stands_since_s
        return self._clock_from_s + now_s * self.rate

    def membership(self) -> MembershipSpec:
        return self.scenario.membership(self.name, self.timing)

    def note(self, text: str) -> None:
        self.watch.note(self.name, text)

    def set_primary(self, on: bool) -> None:
        if on != self.primary:
            self.primary = on
            self.primary_until_s = self.schedule.now_s
            self.watch.primary_changed(self)

    @property
    def serves(self) -> int:
        """The buckets whose clients it answers now."""
        runs = self.powered and self._stands_since_s is None
        return self.accepted if runs and self.local_s() < self._lease_until_s else 0

    @property
    def still_for_s(self) -> float:
        """For how long its daemon has not run."""
        if self.daemon is None:
            return self.schedule.now_s - self._stopped_s
        return self.schedule.now_s - self._frozen_s if self.daemon.frozen else 0.0

    @property
    def served_lately(self) -> int:
        """The buckets that it may be thought to serve: the lease is over for less than what clocks may differ."""
        margin_s = 0.2 * self.scenario.lost_after_s
        return self.accepted if self.powered and self.local_s() < self._lease_until_s + margin_s else 0

    def accept(self, buckets: int) -> None:
        before, self.accepted = self.serves, buckets
        self.watch.farm.serves_more(self, self.serves & ~before)

    def extend_lease(self, until_s: float) -> None:
        """The kernel's: it outlives whoever gave it."""
        before = self.serves
        self._lease_until_s = max(self._lease_until_s, until_s)
        self.watch.farm.serves_more(self, self.serves & ~before)

    # power and processes

    def power_on(self) -> None:
        if not self.powered and not self.retired:
            self.powered = True
            self.start_daemon(boot=True)

    def power_off(self) -> None:
        self.note("power off")
        self.powered = self.suspended = False
        self._let_clock_go()
        self._fed += 1
        self.kill_daemon(orphan=False)
        if self.host is not None:
            self.host.kill()
            self.host = None
        self.set_primary(False)
        self.accepted = 0

    def start_daemon(self, *, boot: bool = False) -> None:
        if self.powered and self.daemon is None:
            self.incarnation += 1
            self.note(f"safekitd starts (incarnation {self.incarnation})")
            self.heard_s.clear()
            self.thawed_s = self.schedule.now_s
            self.watch.restarted(self)
            if self.host is not None:
                self.host.kill()  # what an earlier daemon left; it may stand still
                self.host = None
            self.daemon = Daemon(self, boot=boot)

    def kill_daemon(self, *, orphan: bool = True) -> None:
        """The host gets the kernel's signal at once, when the daemon dies without the machine."""
        if self.daemon is not None:
            self.watch.restarted(self)
            self._stopped_s = self._frozen_s if self.daemon.frozen else self.schedule.now_s
            self.daemon.kill()
            self.daemon = None
        if orphan and self.host is not None:
            self.host.deliver(partial(self.host.orphan, "the daemon is gone"))

    @property
    def works(self) -> bool:
        """Its data path answers."""
        return self.powered and not self.suspended and self.host is not None and not self.host.frozen

    def fence(self, peer: str) -> bool:
        """By a device that does not always answer. Who is off stays off until somebody switches it on."""
        if self.rng.random() < FENCE_FAILS:
            self.note(f"{peer} cannot be fenced")
            return False
        self.note(f"{peer} is fenced")
        other = self.watch.machines[peer]
        if other.powered:
            other.power_off()
        other.fenced_s = self.schedule.now_s
        return True

    def shut_down(self, then: Work) -> None:
        """Stop the modules, give the peer the word it waits for, end; within the time that systemd gives."""
        self.command(events.Command.SHUTDOWN)
        self._await_end(self.daemon, self.schedule.now_s + SHUT_DOWN_S, then)

    def _await_end(self, daemon: Daemon | None, until_s: float, then: Work) -> None:
        if daemon is not None and daemon.alive and self.schedule.now_s < until_s:
            if daemon.frozen or not daemon.idle or engine.awaited(daemon.node):
                self.schedule.after(0.05, partial(self._await_end, daemon, until_s, then))
                return
            self.note("safekitd ends")
            self.kill_daemon()
        then()

    def freeze(self, *, clock_stands: bool = False) -> None:
        self.note(f"frozen{', its clock as well' if clock_stands else ''}")
        self.suspended = True
        if clock_stands and self._stands_since_s is None:
            self._stands_since_s = self.schedule.now_s
        self._freeze_begins()
        for process in (self.daemon, self.host):
            if process is not None:
                process.frozen = True

    def freeze_daemon(self) -> None:
        self.note("safekitd frozen")
        self._freeze_begins()
        if self.daemon is not None:
            self.daemon.frozen = True
            self.schedule.after(ORPHAN_S, partial(self._orphaned, self.daemon, self.host))

    def freeze_host(self) -> Host | None:
        """It neither obeys nor ends, until it thaws or is killed."""
        host = self.host
        if host is not None:
            self.note("the host is frozen")
            host.frozen = True
            if self.daemon is not None:
                silent_s = self.daemon.host_silent_s + self.rng.uniform(0.0, 0.5)
                self.daemon.later(silent_s, partial(self.daemon.judge_host, host))
        return host

    def thaw_host(self, host: Host | None) -> None:
        if host is not None and host.alive and not self.suspended:
            self.note("the host thaws")
            host.thaw()

    def _freeze_begins(self) -> None:
        if self.daemon is not None and not self.daemon.frozen:
            self._frozen_s = self.schedule.now_s

    def _orphaned(self, daemon: Daemon, host: Host | None) -> None:
        if daemon.frozen and daemon.alive and host is not None:
            host.deliver(partial(host.orphan, f"the daemon was silent for {ORPHAN_S:g} s"))

    def thaw(self) -> None:
        self.note("thawed")
        stood_s = self._let_clock_go()
        if self.suspended:
            self.suspended, self.resumed_s = False, self.schedule.now_s
            self.watch.resumed(self)
        slept_s = (self.schedule.now_s - self._frozen_s - stood_s) * self.rate
        daemon = self.daemon
        if daemon is not None and daemon.frozen and slept_s > membership.sleep_s(daemon.node.membership.spec):
            self.woke_s = self.thawed_s = self.schedule.now_s
        for process in (self.daemon, self.host):
            if process is not None and process.frozen:
                process.thaw()

    def _let_clock_go(self) -> float:
        """Return how long it has stood still."""
        if self._stands_since_s is None:
            return 0.0
        stood_s = self.schedule.now_s - self._stands_since_s
        self._stands_since_s = None
        self._clock_from_s -= stood_s * self.rate
        return stood_s

    # its end by itself

    def reset(self, why: str) -> None:
        if self.scenario.fences and self.powered:
            self.note(f"reset: {why}")
            self.power_off()
            self.schedule.after(RESET_S, partial(self._reset_ends, self._fed))

    def _reset_ends(self, fed: int) -> None:
        """Unless its power was switched meanwhile."""
        if fed == self._fed:
            self.power_on()

    def feed_watchdog(self, rights: tuple[tuple[str, Limits], ...]) -> None:
        """Armed while something runs that a witness or the peer lets run: it bites when that has to have stopped."""
        self._fed += 1
        if rights and self.scenario.fences:
            delay_s = (min(ends.fence_s for _, ends in rights) - self.local_s()) / self.rate
            if delay_s < LONG_S:
                self.schedule.after(max(delay_s, 0.0), partial(self._bite, self._fed))

    def _bite(self, fed: int) -> None:
        if fed == self._fed:
            self.reset("its watchdog was not fed")

    # the disk

    def save_delay_s(self) -> float:
        hangs_s = max(self.ills.disk_hangs_until_s - self.schedule.now_s, 0.0)
        return self.rng.uniform(0.0005, self.scenario.save_s) + self.ills.slow_save_s + hangs_s

    def save(self, durable: engine.Durable) -> bool:
        if self.ills.disk_failed:
            return False
        self.watch.saved(self, durable)
        self.disk = durable
        return True

    def crash_at_next_save(self, *, armed: bool = True) -> None:
        self._crash_at_save = armed

    def crashes_between(self, durable: engine.Durable) -> bool:
        """Power is lost after the save and before the actions."""
        if not self._crash_at_save:
            return False
        self._crash_at_save = False
        self.save(durable)
        self.power_off()
        return True

    # what comes from outside

    def receive(self, event: events.HeartbeatHeard) -> None:
        if self.daemon is not None:
            self.daemon.deliver(partial(self._hear, self.daemon, event))

    def _hear(self, daemon: Daemon, event: events.HeartbeatHeard) -> None:
        daemon.submit(event)
        peer = daemon.node.membership.peers.get(event.heartbeat.node)
        if peer is not None and peer.last_s == self.local_s():
            self.heard_s[peer.node] = self.schedule.now_s

    def command(self, command: events.Command, *, force: bool = False) -> None:
        self.note(f"operator: {command}{' --force' if force else ''}")
        if self.daemon is not None:
            given = events.CommandGiven(MODULE, command, force=force, by="operator")
            self.daemon.deliver(partial(self.daemon.submit, given))

    def set_weight(self, weight: int | None) -> None:
        self.note(f"operator: weight {weight}")
        if self.daemon is not None:
            self.daemon.deliver(partial(self.daemon.submit, events.WeightSet(MODULE, weight, by="operator")))

    def configure(self, module: ModuleSpec, timing: Timing) -> None:
        self.module, self.timing = module, timing
        if self.daemon is not None:
            event = events.Configured(self.membership(), self.modules())
            self.daemon.deliver(partial(self.daemon.submit, event))

    def modules(self) -> tuple[ModuleSpec, ...]:
        """What it has a part in."""
        return (self.module,) if self.name in self.module.nodes else ()

    def app(self, *, down: bool) -> None:
        self.ills.app_down = down
        if self.host is not None:
            self.host.later(0.2, self.host.check)
