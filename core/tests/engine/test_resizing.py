"""A farm gets another list of nodes while it runs, on one node after the other: no bucket is ever served twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit import engine
from safekit.engine.actions import RunPipeline, TakeShare
from safekit.engine.events import Command, Configured, PipelineFinished, WeightSet
from safekit.engine.share import ALL, NO_PRIORS, make_map
from safekit.engine.spec import Kind

from .crowd import NAMES, WEB, Crowd, One
from .kit import LOST_AFTER_S, MODULE, membership, prim, spec, waiting

TWO = replace(WEB, nodes=("a", "b"))


def give(crowd: Crowd, nodes: tuple[str, ...], *to: str) -> None:
    module = replace(WEB, nodes=nodes)
    for name in to:
        modules = (module,) if name in nodes else ()
        crowd[name].tell(Configured(membership(name, NAMES), modules))
        crowd[name].mute = not modules


@pytest.fixture
def pair() -> Crowd:
    """Two of the three have it."""
    made = Crowd(*NAMES)
    give(made, ("a", "b"), *NAMES)
    for name in ("a", "b"):
        made.command(name, Command.START)
    made.settle()
    assert made.served() == {"a": 128, "b": 128, "c": 0}
    return made


def test_a_node_that_is_added_takes_its_part_and_the_others_go_on(pair: Crowd) -> None:
    runs = [one.m.runs for one in (pair["a"], pair["b"])]
    give(pair, NAMES, *NAMES)
    pair.settle(0.5)
    assert pair.served() == {"a": 128, "b": 128, "c": 0}
    pair.command("c", Command.START)
    pair.settle()
    assert pair.served() == {"a": 86, "b": 85, "c": 85}
    assert [one.m.runs for one in (pair["a"], pair["b"])] == runs


def test_who_has_not_heard_yet_that_a_node_was_added_does_not_take_what_that_serves(pair: Crowd) -> None:
    give(pair, NAMES, "a", "c")
    pair.command("c", Command.START)
    pair.settle()
    assert pair["c"].accepts.bit_count() == 85
    pair["a"].up = False
    for _ in range(30):
        pair.exchange()
        pair.served()
    assert pair["b"].accepts == ALL, "it made the map, and the node that it does not know has released its part"
    give(pair, NAMES, "b")
    pair.settle()
    assert pair.served() == {"b": 128, "c": 128}


def test_of_a_node_that_is_taken_out_the_others_wait_until_it_has_stopped() -> None:
    crowd = Crowd(*NAMES)
    crowd.start()
    before = crowd["c"].accepts
    give(crowd, ("a", "b"), "a", "b")
    crowd.settle(1.0, apply=False)
    assert (crowd["a"].accepts | crowd["b"].accepts) & before == 0, "the node has not heard of it yet, and serves"
    give(crowd, ("a", "b"), "c")
    crowd.settle(LOST_AFTER_S - 0.3)
    assert (crowd["a"].accepts | crowd["b"].accepts) & before == 0, "what it has started ends"
    crowd["c"].accepts = 0
    crowd.settle(1.0)
    assert crowd.served() == {"a": 128, "b": 128, "c": 0}


def test_a_daemon_that_starts_waits_for_a_node_that_serves_by_an_earlier_list() -> None:
    crowd = Crowd(*NAMES)
    crowd.start()
    give(crowd, TWO.nodes, "a", "b")
    crowd.exchange()
    crowd["a"].up = False
    kept = engine.durable(crowd["a"].node)
    crowd.ones["a"] = again = One("a", kept, incarnation=2, module=TWO)
    again.apply()
    again.now_s = crowd["b"].now_s
    for _ in range(60):
        crowd.exchange()
        crowd.served()
    assert crowd.served() == {"a": 128, "b": 128, "c": 0}


def test_who_is_added_waits_for_who_lost_it_a_moment_ago(pair: Crowd) -> None:
    crowd = pair
    give(crowd, ("a", "c"), "a", "b")  # b's kernel goes on by its lease, 0.75 of the loss time
    crowd.exchange()
    give(crowd, ("a", "c"), "c")
    crowd.command("c", Command.START)
    for _ in range(round(0.7 * LOST_AFTER_S / 0.1) - 1):
        crowd.exchange()
        crowd.served()


def test_all_are_drained_though_a_former_node_is_off() -> None:
    crowd = Crowd(*NAMES)
    crowd.start()
    crowd.command("c", Command.STOP)
    crowd.settle()
    give(crowd, ("a", "b"), *NAMES)
    crowd.settle()
    crowd["c"].up = False
    crowd.settle(5)
    for name in ("a", "b"):
        crowd[name].tell(WeightSet(MODULE, 0))
    crowd.settle(10)
    assert crowd.served() == {"a": 0, "b": 0}


def test_who_is_there_again_and_stuck_keeps_nothing_for_ever() -> None:
    crowd = Crowd(*NAMES)
    crowd.start()
    c = crowd["c"]
    give(crowd, ("a", "b"), "c")  # dropped while active
    c.accepts, c.answers_runs = 0, False
    give(crowd, NAMES, "c")
    c.mute, done = True, len(c.all)
    for _ in range(300):
        crowd.exchange()
        for action in c.all[done:]:
            if isinstance(action, RunPipeline):
                c.tell(PipelineFinished(MODULE, action.run, ok=False, failed="app", reason="immortal", stuck=True))
        done = len(c.all)
    assert sum(crowd.served().values()) == 256


def test_nothing_is_ordered_while_the_steps_are_exchanged() -> None:
    """The host's pipeline has no step then that could apply it, and answers `ok` (host/pipeline.py:194)."""
    crowd = Crowd(*NAMES)
    crowd.start()
    b = crowd["b"]
    b.answers_runs, at = False, len(b.all)
    for name in NAMES:
        weight = 10 if name == "b" else WEB.weight
        crowd[name].tell(Configured(membership(name, NAMES), (replace(WEB, signature="2", weight=weight),)))
    for _ in range(5):
        crowd.exchange()
    assert b.m.run is not None
    assert not [order for order in b.all[at:] if isinstance(order, TakeShare)]


def test_a_director_that_stops_hears_who_is_the_next() -> None:
    crowd = Crowd(*NAMES)
    crowd.start()
    one = crowd[crowd["a"].report.map.director]
    one.answers_runs, at = False, len(one.all)
    crowd.command(one.name, Command.STOP)
    for _ in range(6):
        crowd.exchange()
    assert one.report.map.director != one.name
    assert [order for order in one.all[at:] if isinstance(order, TakeShare)][-1].director != one.name


def test_of_two_maps_of_former_nodes_all_take_the_same(pair: Crowd) -> None:
    crowd = pair
    for name, leader, owners in (("a", "p", ("a",) * 128 + ("b",) * 128), ("b", "q", ("b",) * 128 + ("a",) * 128)):
        one = crowd[name]
        made = make_map(50, leader, owners, NO_PRIORS, "a")
        share = replace(one.m.share, map=made, map_s=one.now_s)
        one.node = replace(one.node, modules={MODULE: replace(one.m, share=share)})
    crowd.settle(20)
    assert sum(crowd.served().values()) == 256


@pytest.mark.parametrize(
    ("after", "again"), [((), True), ((("rfs.a", "2"),), True), ((("rfs.a", "1"), ("rfs.b", "1")), False)]
)
def test_what_others_stand_on_changes_with_the_whole_module(after: tuple[tuple[str, str], ...], again: bool) -> None:
    one = prim()
    one.tell(Configured(membership("a"), (spec(foundation=(("rfs.a", "1"),), signature="2"),)))
    assert not one.m.again
    one.tell(Configured(membership("a"), (spec(foundation=after, signature="3"),)))
    assert one.m.again is again


@pytest.mark.parametrize(("kind", "again"), [(Kind.MIRROR, True), (Kind.LIGHT, False)])
def test_a_mirror_whose_nodes_change_is_started_again_and_a_light_module_goes_on(kind: Kind, again: bool) -> None:
    one = prim() if kind is Kind.MIRROR else waiting(spec=spec(kind=kind))
    one.tell(Configured(membership("a", NAMES), (spec(kind=kind, nodes=("a", "c"), signature="2"),)))
    assert one.m.again is again
