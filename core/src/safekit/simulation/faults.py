"""Everything that can go wrong, each for a while, at moments and places that the seed chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from safekit.engine.events import Command
from safekit.simulation.scenario import Injection

if TYPE_CHECKING:
    from safekit.simulation.history import History
    from safekit.simulation.machine import Machine
    from safekit.simulation.network import Link
    from safekit.simulation.scenario import Timing
    from safekit.simulation.schedule import Work

COMMANDS: Final = tuple(command for command in Command if command is not Command.SHUTDOWN)


class Faults:
    def __init__(self, history: History, rng: Random) -> None:
        self.history = history
        self.rng = rng
        self.planned: tuple[Injection, ...] = ()
        self._part = 1.0
        self._at_work = 0
        self._kinds: dict[str, Callable[[], None]] = {
            "cut": self._cut,
            "flap": self._flap,
            "one_way": self._one_way,
            "noise": self._noise,
            "power": self._power,
            "daemon_crash": self._daemon_crash,
            "daemon_stop": self._daemon_stop,
            "freeze": self._freeze,
            "daemon_freeze": self._daemon_freeze,
            "slow_disk": self._slow_disk,
            "failed_disk": self._failed_disk,
            "host_kill": self._host_kill,
            "host_hang": partial(self._some, "hanging_runs"),
            "failed_start": partial(self._some, "failed_starts"),
            "stuck_stop": partial(self._some, "stuck_stops"),
            "app_down": self._app_down,
            "command": self._command,
            "swap": self._swap,
            "prim": self._prim,
            "reconfigure": self._reconfigure,
            "weight": self._weight,
            "lost_share": partial(self._some, "lost_shares"),
            "witness_down": self._witness_down,
            "witness_cut": self._witness_cut,
            "isolate": self._isolate,
            "host_freeze": self._host_freeze,
            "suspend": self._suspend,
            "hung_disk": self._hung_disk,
            "deaf": self._deaf,
            "retime": self._retime,
            "resize": self._resize,
        }

    def plan(self) -> float:
        """Put the scenario's faults on the schedule. Return when the last has begun."""
        given = self.history.scenario.injections
        self.planned = tuple(self._draw()) if given is None else given
        for injection in self.planned:
            self.history.schedule.after(injection.at_s, partial(self._inject, injection))
        return max((injection.at_s for injection in self.planned), default=0.0)

    def _draw(self) -> Iterator[Injection]:
        scenario = self.history.scenario
        at_s = 0.0
        for number in range(scenario.count):
            soon_s = at_s + self.rng.uniform(0.0, 2 * scenario.lost_after_s)
            now_s = at_s + self.rng.uniform(0.0, scenario.timing.interval_s)
            at_s = self.rng.choice((now_s, soon_s, self.rng.uniform(0.0, scenario.trouble_s)))
            yield Injection(number, self.rng.choice(scenario.faults), at_s)

    def _inject(self, injection: Injection) -> None:
        scenario = self.history.scenario
        rng = Random(scenario.seed << 8 | injection.number) if scenario.own_randomness else self.rng
        self._with(rng, injection.part, self._kinds[injection.kind])

    def _with(self, rng: Random, part: float, work: Work) -> None:
        self.rng, self._part = rng, part
        self._do(work)

    def _do(self, work: Work) -> None:
        """What is noted meanwhile is done to the cluster, and is no consequence."""
        chronicle = self.history.watch.chronicle
        if chronicle is not None:
            chronicle.injects = True
        work()
        if chronicle is not None:
            chronicle.injects = False

    @property
    def at_work(self) -> bool:
        return self._at_work > 0

    def _machine(self) -> Machine:
        """More often than not the one that matters."""
        machines = list(self.history.machines.values())
        primaries = [machine for machine in machines if machine.primary]
        return self.rng.choice(self.rng.choice((machines, primaries or machines)))

    def _for_a_while(self, work: Work, *, least_s: float = 0.05) -> None:
        self._during(self._seconds(least_s), work)

    def _seconds(self, least_s: float = 0.05) -> float:
        """Short, about the loss time, or long; the boundary is where the bugs are."""
        lost_s = self.history.scenario.lost_after_s
        seconds = self.rng.choice(
            (self.rng.uniform(0.0, lost_s), lost_s * self.rng.uniform(0.8, 1.3), self.rng.uniform(1.0, 10.0))
        )
        if self.history.witness is not None and self.rng.random() < 0.3:
            seconds = self.history.witness.spec.lease_s * self.rng.uniform(0.5, 2.5)
        return max(seconds * self._part, least_s)

    def _soon(self, seconds: float, work: Work) -> None:
        """More of the same fault."""
        self._during(seconds, partial(self._with, self.rng, self._part, work))

    def _during(self, seconds: float, work: Work) -> None:
        self._at_work += 1
        self.history.watch.quiet_since_s = math.inf
        self.history.schedule.after(seconds, partial(self._end, work))

    def _end(self, work: Work) -> None:
        self._do(work)
        self._at_work -= 1
        if not self._at_work:
            self.history.watch.quiet_since_s = self.history.schedule.now_s

    def _note(self, text: str) -> None:
        self.history.watch.note("--", text)

    # networks

    def _cut(self) -> None:
        links = self.history.network.links()
        if self.rng.random() < 0.3:
            chosen = self.rng.choice(self.history.scenario.networks)
            links = [link for link in links if link[0] == chosen]
        self._cut_links(links)

    def _one_way(self) -> None:
        sender = self.rng.choice(self.history.scenario.nodes)
        self._cut_links([link for link in self.history.network.links() if link[1] == sender])

    def _deaf(self) -> None:
        """One way is lost for long: from a node or to it, to and from all others or one of them."""
        node = self.rng.choice(self.history.scenario.nodes)
        other = self.rng.choice(self.history.scenario.nodes)
        end = self.rng.choice((1, 2))
        links = [link for link in self.history.network.links() if link[end] == node]
        only = [link for link in links if link[3 - end] == other]
        seconds = self.rng.uniform(2.0, 12.0) * self.history.scenario.lost_after_s
        seconds += self.rng.uniform(0.0, 2.0) * self.history.scenario.lease_s
        self._cut_links(self.rng.choice((links, only or links)), seconds=seconds * self._part)

    def _cut_links(self, links: list[Link], also: str = "", seconds: float | None = None) -> None:
        """`also`: the node that does not reach the witness meanwhile."""
        self._note(f"cut {' '.join(f'{net}:{a}>{b}' for net, a, b in links)}")
        self.history.network.cut(links)
        self._during(self._seconds() if seconds is None else seconds, partial(self._mend, links, also))

    def _mend(self, links: list[Link], also: str) -> None:
        if self.history.witness is not None:
            self.history.witness.cut.discard(also)
        self._note(f"mended {' '.join(f'{net}:{a}>{b}' for net, a, b in links)}")
        self.history.network.mend(links)

    def _flap(self) -> None:
        for index in range(self.rng.randint(2, 5)):
            self._soon(index * self.rng.uniform(0.5, 3.0), self._cut)

    def _noise(self) -> None:
        network = self.history.network
        network.noise = self.rng.uniform(0.1, 0.7)
        self._note(f"noise {network.noise:.2f}")
        self._for_a_while(partial(setattr, network, "noise", 0.0))

    # the witness

    def _witness_down(self) -> None:
        witness = self.history.witness
        if witness is not None and witness.up:
            self._note("the witness goes")
            witness.up = False
            self._for_a_while(witness.mend)

    def _witness_cut(self) -> None:
        witness = self.history.witness
        if witness is not None:
            name = self._machine().name
            self._note(f"{name} does not reach the witness")
            witness.cut.add(name)
            self._for_a_while(partial(witness.cut.discard, name))

    def _isolate(self) -> None:
        """One node reaches nobody: what a witness is for."""
        witness = self.history.witness
        name = self._machine().name
        if witness is not None:
            witness.cut.add(name)
            self._cut_links([link for link in self.history.network.links() if name in link[1:]], also=name)

    # machines and daemons

    def _power(self) -> None:
        machine = self._machine()
        if not machine.powered:
            return
        if self.rng.random() < 0.4:
            machine.crash_at_next_save()
        else:
            machine.power_off()
        self._for_a_while(machine.power_on, least_s=0.3)

    def _daemon_crash(self) -> None:
        machine = self._machine()
        machine.note("safekitd crashes")
        machine.kill_daemon()
        self._for_a_while(machine.start_daemon, least_s=1.2 * self.history.scenario.phase_s + 0.1)

    def _daemon_stop(self) -> None:
        self._at_work += 1
        machine = self._machine()
        machine.shut_down(partial(self._daemon_stopped, machine))

    def _daemon_stopped(self, machine: Machine) -> None:
        machine.kill_daemon()
        self._for_a_while(machine.start_daemon, least_s=1.2 * self.history.scenario.phase_s + 0.1)
        self._at_work -= 1

    def _freeze(self) -> None:
        machine = self._machine()
        machine.freeze()
        self._for_a_while(machine.thaw)

    def _suspend(self) -> None:
        machine = self._machine()
        machine.freeze(clock_stands=True)
        self._for_a_while(machine.thaw)

    def _daemon_freeze(self) -> None:
        machine = self._machine()
        machine.freeze_daemon()
        self._for_a_while(machine.thaw)

    # disks

    def _slow_disk(self) -> None:
        machine = self._machine()
        machine.ills.slow_save_s = self.rng.uniform(0.1, 2.0)
        machine.note(f"each save takes {machine.ills.slow_save_s:.2f} s more")
        self._for_a_while(partial(setattr, machine.ills, "slow_save_s", 0.0))

    def _hung_disk(self) -> None:
        """What is saved meanwhile is on disk only when the disk goes on."""
        machine = self._machine()
        seconds = self._seconds()
        machine.note("the disk hangs")
        machine.ills.disk_hangs_until_s = self.history.schedule.now_s + seconds
        self._during(seconds, partial(machine.note, "the disk goes on"))

    def _failed_disk(self) -> None:
        machine = self._machine()
        machine.note("the disk fails")
        machine.ills.disk_failed = True
        self._for_a_while(partial(setattr, machine.ills, "disk_failed", False))

    # hosts and the application

    def _host_kill(self) -> None:
        machine = self._machine()
        if machine.daemon is not None and machine.host is not None:
            machine.note("the host is killed")
            machine.daemon.kill_host("killed by a signal")

    def _host_freeze(self) -> None:
        machine = self._machine()
        host = machine.freeze_host()
        self._for_a_while(partial(machine.thaw_host, host))

    def _some(self, ill: str) -> None:
        machine = self._machine()
        number = self.rng.randint(1, 3)
        machine.note(f"{ill.replace('_', ' ')} to come: {number}")
        setattr(machine.ills, ill, number)
        self._for_a_while(partial(setattr, machine.ills, ill, 0))

    def _app_down(self) -> None:
        machine = self._machine()
        machine.note("the application is down")
        machine.app(down=True)
        self._for_a_while(partial(machine.app, down=False))

    # operators

    def _command(self) -> None:
        self._machine().command(self.rng.choice(COMMANDS), force=self.rng.random() < 0.2)

    def _swap(self) -> None:
        for machine in self.history.machines.values():
            machine.command(Command.SWAP)

    def _prim(self) -> None:
        """What an operator does who sees no primary, from where he happens to look; sometimes there are two."""
        machines = self.rng.choice(([self._machine()], list(self.history.machines.values())))
        for machine in machines:
            machine.command(self.rng.choice((Command.STOPSTART, Command.FAILOVER_ON)))
            later_s = self.rng.uniform(0.0, 3 * self.history.scenario.phase_s)
            force = self.rng.random() < 0.3
            self.history.schedule.after(later_s, partial(machine.command, Command.PRIM, force=force))
        if self.rng.random() < 0.5:
            self._soon(self.rng.uniform(0.0, 3.5 * self.history.scenario.phase_s), self._cut)

    def _weight(self) -> None:
        self._machine().set_weight(self.rng.choice((None, 0, 1, 100, 300)))

    def _reconfigure(self) -> None:
        signature = str(self.rng.randint(2, 9))
        for machine in self.history.machines.values():
            self.history.schedule.after(self.rng.uniform(0.0, 0.5), partial(self._change, machine, signature=signature))

    @staticmethod
    def _change(machine: Machine, **changes: Any) -> None:
        """Of the module's configuration, on this node."""
        machine.configure(replace(machine.module, **changes), machine.timing)

    def _resize(self) -> None:
        """A farm gets another list of nodes, on one node after the other."""
        nodes = self.history.scenario.nodes
        chosen = tuple(sorted(self.rng.sample(nodes, self.rng.randint(1, len(nodes))), key=nodes.index))
        self._note(f"nodes of the module: {', '.join(chosen)}")
        for machine in self.history.machines.values():
            self._during(self.rng.uniform(0.0, 1.5), partial(self._change, machine, nodes=chosen))

    def _retime(self) -> None:
        """The heartbeats' timing is changed, on one node after the other."""
        timing = self.rng.choice((self.history.scenario.timing, *self.history.scenario.later_timings))
        self._note(f"heartbeats every {timing.interval_s:g} s, lost after {timing.lost_after_s:g} s")
        for machine in self.history.machines.values():
            self.history.schedule.after(self.rng.uniform(0.0, 0.5), partial(self._time, machine, timing))

    @staticmethod
    def _time(machine: Machine, timing: Timing) -> None:
        machine.configure(machine.module, timing)
