"""Who takes over has every acknowledged write, whatever was cut and in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from safekit import engine
from safekit.engine.actions import AskWitness, Phase, RunPipeline
from safekit.engine.events import Command, ValueSet
from safekit.engine.spec import IsolationPolicy, ModuleSpec

from .kit import INTERVAL_S, LOST_AFTER_S, MODULE, NODES, spec
from .third import LEASE_S, WITNESS, Three

WITNESSED = spec(has_data=True, witness=WITNESS)
SAFE = spec(has_data=True)
AVAILABLE = spec(has_data=True, isolation=IsolationPolicy.AVAILABILITY)


@dataclass
class DataPath:
    """What a resource that replicates does, as the engine sees it."""

    is_up_to_date: bool = True
    epoch: int = 0
    writes: set[int] = field(default_factory=set)
    role: str = ""
    may_stand_alone: bool = False
    is_paired: bool = False
    is_holding: bool = False

    def obey(self, order: RunPipeline) -> None:
        for phase in order.phases:
            match phase:
                case Phase.START_PRIM:
                    self.role, self.epoch = "prim", order.epoch
                    self._stand(alone=order.after == "ALONE")
                case Phase.STAND_ALONE:
                    self.epoch = order.epoch
                    self._stand(alone=True)
                case Phase.PAIR:
                    self.may_stand_alone = False
                case Phase.START_SECOND:
                    self.role = "second"
                case Phase.STOP_PRIM | Phase.STOP_SECOND | Phase.CLEANUP:
                    self.role = ""

    def _stand(self, *, alone: bool) -> None:
        self.may_stand_alone = alone
        self.is_paired = self.is_paired and not alone
        self.is_holding = False
        self.is_up_to_date = True

    def values(self) -> dict[str, str]:
        words = {True: "up", False: "down"}
        return {
            "rfs.epoch": str(self.epoch),
            "rfs.uptodate": words[self.is_up_to_date],
            "rfs.holding": words[self.is_holding],
        }


class Mirrored(Three):
    """Every write that was acknowledged is on the node that becomes primary, or it is an error at once."""

    def __init__(self, module: ModuleSpec = WITNESSED) -> None:
        self.paths = {name: DataPath() for name in NODES}
        self.seen = dict.fromkeys(NODES, 0)
        self.disks: dict[str, engine.Durable] = {}
        self.acknowledged: set[int] = set()
        self.is_linked = True
        self.forced = False
        super().__init__(module)

    def host(self, name: str) -> None:
        for _ in range(5):
            super().host(name)
            if name in self.off or not self._obey(name):
                return
        raise AssertionError("the values change without end")

    def _obey(self, name: str) -> bool:
        bench, path = self.benches[name], self.paths[name]
        orders = bench.orders(bench.all[self.seen[name] :])
        self.seen[name] = len(bench.all)
        for order in orders:
            path.obey(order)
            if Phase.START_PRIM in order.phases and not self.forced:
                assert self.acknowledged <= path.writes, f"{name} becomes primary and lacks what was acknowledged"
        changed = [(key, value) for key, value in path.values().items() if bench.m.plain_values().get(key) != value]
        for key, value in changed if bench.m.state != "STOP" else ():
            bench.tell(ValueSet(MODULE, key, value, by="plugin"))
        return bool(orders)

    def exchange(self, *, hosts: bool = True) -> None:
        super().exchange(hosts=hosts)
        self.replicate()

    def replicate(self) -> None:
        running = [name for name in NODES if name not in self.off]
        first = next((self.paths[name] for name in running if self.paths[name].role == "prim"), None)
        other = next((self.paths[name] for name in running if self.paths[name].role == "second"), None)
        if first is None:
            return
        is_linked = self.is_linked and not self.parted and other is not None
        first.is_holding = first.is_paired and not is_linked
        if is_linked and other is not None:
            other.writes = set(first.writes)
            other.is_up_to_date = other.is_up_to_date and other.epoch == first.epoch
            if not first.may_stand_alone:
                other.epoch, other.is_up_to_date, first.is_paired = first.epoch, True, True

    def write(self) -> bool:
        """Whether the application that runs somewhere had its write acknowledged."""
        number = len(self.acknowledged) + 1000 * len(self.paths["a"].writes | self.paths["b"].writes)
        done = False
        for name in NODES:
            path = self.paths[name]
            if name in self.off or path.role != "prim":
                continue
            path.writes.add(number)
            self.replicate()
            if not path.is_holding:
                self.acknowledged.add(number)
                done = True
        return done

    def lose_power(self, name: str) -> None:
        self.off.add(name)
        self.disks[name] = engine.durable(self.benches[name].node)

    def come_back(self, name: str) -> None:
        """A new process of the daemon, with what was on the disk."""
        self.off.discard(name)
        path = self.paths[name]
        path.role, path.is_paired, path.may_stand_alone, path.is_holding = "", False, False, False
        self.restart(name, self.disks[name])
        self.seen[name] = 0
        self.asked[name] = 0


@pytest.fixture(params=[WITNESSED, SAFE, AVAILABLE], ids=["witness", "safety", "availability"])
def any_mirror(request: pytest.FixtureRequest) -> Mirrored:
    made = Mirrored(request.param)
    made.start()
    assert made.write()
    return made


@pytest.fixture
def mirror() -> Mirrored:
    made = Mirrored()
    made.start()
    assert made.write()
    return made


def test_a_pair_has_everything_twice(any_mirror: Mirrored) -> None:
    assert any_mirror.paths["b"].writes == any_mirror.acknowledged
    assert any_mirror["b"].report.up_to_date


def test_a_lost_secondary_holds_writes_until_the_primary_stands_alone(any_mirror: Mirrored) -> None:
    any_mirror.lose_power("b")
    assert not any_mirror.write()
    any_mirror.settle(LOST_AFTER_S + 2.0)
    assert any_mirror["a"].shown == ("ALONE", "Ready")
    assert any_mirror.write()


def test_a_secondary_that_comes_back_late_does_not_take_over_from_a_primary_that_died_meanwhile(
    any_mirror: Mirrored,
) -> None:
    any_mirror.lose_power("b")
    any_mirror.settle(LOST_AFTER_S + 2.0)
    assert any_mirror.write()
    any_mirror.lose_power("a")
    any_mirror.come_back("b")
    any_mirror.settle(3 * LEASE_S)
    assert any_mirror.active() - any_mirror.off == set()
    any_mirror.come_back("a")
    any_mirror.settle(3 * LEASE_S)
    assert any_mirror.states()["a"] == ("PRIM", "Ready")
    assert any_mirror["b"].report.up_to_date
    assert any_mirror.paths["b"].writes >= any_mirror.acknowledged


def test_a_secondary_that_was_cut_off_is_refused_the_lease_of_a_primary_that_went_on_alone(mirror: Mirrored) -> None:
    mirror.parted.add("b")
    mirror.settle(LOST_AFTER_S + 2.0)
    assert mirror["a"].shown == ("ALONE", "Ready")
    assert mirror.write()
    mirror.lose_power("a")
    mirror.settle(4 * LEASE_S)
    assert not mirror["b"].m.active
    assert "had the lease" in mirror["b"].m.reason


def test_a_secondary_that_was_cut_off_takes_over_from_a_primary_that_died_at_once(mirror: Mirrored) -> None:
    mirror.parted.add("b")
    mirror.lose_power("a")
    mirror.settle(3 * LEASE_S)
    assert mirror["b"].shown == ("ALONE", "Ready")
    assert mirror.write()


def test_when_only_the_data_paths_lose_each_other_the_secondary_is_out_of_date_first(any_mirror: Mirrored) -> None:
    any_mirror.is_linked = False
    assert not any_mirror.write()
    any_mirror.settle(1.0)
    assert not any_mirror["b"].report.up_to_date
    assert any_mirror.write()
    any_mirror.lose_power("a")
    any_mirror.settle(3 * LEASE_S)
    assert not any_mirror["b"].m.active
    any_mirror.come_back("a")
    any_mirror.is_linked = True
    any_mirror.settle(3 * LEASE_S)
    assert any_mirror["b"].report.up_to_date


def test_a_primary_that_dies_while_it_wants_to_stand_alone_is_up_to_date_when_it_comes_back(mirror: Mirrored) -> None:
    mirror.is_linked = False
    while not mirror["a"].m.parting:
        mirror.exchange(hosts=False)
        mirror._obey("a")
    mirror.deliver(mirror.beat("a"), to="b")
    mirror.lose_power("a")
    mirror.settle(1.0)
    mirror.come_back("a")
    mirror.is_linked = True
    mirror.settle(3 * LEASE_S)
    assert mirror.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}


def test_after_a_swap_the_new_primary_acknowledges_nothing_before_it_is_heard_by_the_other(
    any_mirror: Mirrored,
) -> None:
    any_mirror.is_linked = False
    any_mirror.command("a", Command.SWAP)
    any_mirror.settle(0.5)
    any_mirror.is_linked = True
    any_mirror.settle(3.0)
    assert any_mirror.states() == {"a": ("SECOND", "Ready"), "b": ("PRIM", "Ready")}
    assert any_mirror.write()
    assert any_mirror.paths["a"].writes == any_mirror.acknowledged


def test_the_witness_is_told_before_a_primary_stands_alone_from_a_silent_peer(mirror: Mirrored) -> None:
    mirror.parted.add("b")
    mirror.third.cut.add("a")
    mirror.settle(LOST_AFTER_S + 1.0)
    assert not mirror.write()
    mirror.third.cut.discard("a")
    mirror.settle(0.2 * LEASE_S)
    assert mirror.write()
    assert mirror.third.epoch == mirror["a"].m.alone_epoch


def test_a_lease_is_asked_for_with_the_greatest_epoch_that_was_heard(mirror: Mirrored) -> None:
    known = mirror["b"].m.epoch
    mirror.lose_power("a")
    mirror.settle(3 * LEASE_S)
    asked = [action for action in mirror["b"].all if isinstance(action, AskWitness) and action.call == "acquire"]
    assert asked[0].after == known


def test_power_is_lost_on_both_and_the_one_that_stood_alone_is_primary_again(any_mirror: Mirrored) -> None:
    any_mirror.lose_power("b")
    any_mirror.settle(LOST_AFTER_S + 2.0)
    assert any_mirror.write()
    any_mirror.lose_power("a")
    any_mirror.settle(1.0)
    any_mirror.come_back("b")
    any_mirror.settle(0.5)
    any_mirror.come_back("a")
    any_mirror.settle(3 * LEASE_S + INTERVAL_S)
    assert any_mirror.states()["a"] == ("PRIM", "Ready")


def test_a_node_that_lacks_writes_is_primary_by_the_operators_word(mirror: Mirrored) -> None:
    mirror.parted.add("b")
    mirror.settle(LOST_AFTER_S + 2.0)
    assert mirror.write()
    mirror.lose_power("a")
    mirror.settle(3 * LEASE_S)
    mirror.forced = True
    mirror.command("b", Command.PRIM, force=True)
    mirror.settle(1.0)
    assert mirror["b"].shown == ("ALONE", "Ready")
    mirror.parted.discard("b")
    mirror.come_back("a")
    mirror.settle(3 * LEASE_S)
    assert mirror.states() == {"a": ("SECOND", "Ready"), "b": ("PRIM", "Ready")}
