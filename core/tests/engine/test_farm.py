"""Who serves which clients of a farm: agreed, released before acquired, and nothing lost for long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit import engine
from safekit.engine.actions import TakeShare
from safekit.engine.events import Command, Configured, HostLost, TimePassed, WeightSet
from safekit.engine.reports import ModuleState
from safekit.engine.share import ALL, owners_of, priors_of

from .crowd import NAMES, WEB, Crowd, One, killed
from .kit import LOST_AFTER_S, MODULE, membership


@pytest.fixture
def crowd() -> Crowd:
    """Three that share everything."""
    made = Crowd(*NAMES)
    made.start()
    assert made.served() == {"a": 86, "b": 85, "c": 85}
    return made


def lose(crowd: Crowd, name: str) -> None:
    crowd[name].up = False
    crowd.settle(LOST_AFTER_S + 0.5)


def test_a_node_that_is_alone_serves_all_once_it_has_listened() -> None:
    crowd = Crowd("a")
    crowd.command("a", Command.START)
    crowd.settle(LOST_AFTER_S - 0.2)
    assert crowd.served() == {"a": 0}
    crowd.settle(0.5)
    assert crowd.served() == {"a": 256}


def test_all_have_the_same_map(crowd: Crowd) -> None:
    assert len({one.report.map for one in crowd.ones.values()}) == 1


def test_who_joins_gets_a_bucket_when_it_was_released_and_not_before() -> None:
    crowd = Crowd("a", "b")
    crowd.command("a", Command.START)
    crowd.settle()
    crowd.command("b", Command.START)
    crowd.settle(1.0, apply=False)
    assert crowd["a"].owned.bit_count() == 128
    assert crowd["a"].report.held == ALL
    assert crowd["b"].accepts == 0
    crowd["a"].apply()
    assert crowd["a"].report.held == crowd["a"].owned
    crowd.exchange()
    crowd.exchange()
    assert crowd.served() == {"a": 128, "b": 128}


def test_two_that_start_at_once_do_not_both_serve_all() -> None:
    """Each has heard the other say that it runs nothing; that was so, and says nothing of now."""
    crowd = Crowd("a", "b")
    crowd.exchange()
    for one in crowd.ones.values():
        one.tell(TimePassed())
    crowd.command("a", Command.START)
    crowd.command("b", Command.START)
    for one in crowd.ones.values():
        one.apply()
    crowd.served()
    crowd.settle()
    assert crowd.served() == {"a": 128, "b": 128}


def test_what_a_lost_node_served_the_others_serve_and_keep_their_own(crowd: Crowd) -> None:
    before = {name: crowd[name].accepts for name in ("a", "b")}
    lose(crowd, "c")
    assert crowd.served() == {"a": 128, "b": 128}
    assert all(crowd[name].accepts & kept == kept for name, kept in before.items())


def test_a_leader_that_is_lost_in_the_midst_of_a_hand_over_is_followed(crowd: Crowd) -> None:
    leader = crowd[crowd["a"].report.map.leader]
    leader.tell(WeightSet(MODULE, 10, by="test"))
    crowd.exchange(apply=False)
    crowd.exchange(apply=False)
    lose(crowd, leader.name)
    assert sum(crowd.served().values()) == 256
    assert len({one.report.map for one in crowd.ones.values() if one.up}) == 1


def test_a_leader_that_stops_just_after_it_made_a_map_is_followed_after_a_while(crowd: Crowd) -> None:
    leader = crowd[crowd["a"].report.map.leader]
    leader.tell(WeightSet(MODULE, 10, by="test"))
    crowd.exchange()
    crowd.command(leader.name, Command.STOP)
    crowd.settle(0.5)
    crowd.settle(2 * LOST_AFTER_S)
    assert sum(crowd.served().values()) == 256


def test_two_partitions_that_meet_again_agree(crowd: Crowd) -> None:
    crowd.cut = {frozenset({"a", "b"}), frozenset({"a", "c"})}
    crowd.settle(LOST_AFTER_S + 1.0)
    assert crowd["a"].accepts == ALL
    assert crowd["b"].accepts | crowd["c"].accepts == ALL
    crowd.cut = set()
    crowd.settle(2.0)
    assert crowd.served() == {"a": 86, "b": 85, "c": 85}
    assert len({one.report.map for one in crowd.ones.values()}) == 1


def test_three_of_whom_two_do_not_hear_each_other_change_the_map_no_more_than_once_in_a_loss_time(crowd: Crowd) -> None:
    before = crowd["a"].report.map.epoch
    crowd.cut = {frozenset({"a", "b"})}
    crowd.settle(10.0)
    assert crowd["c"].report.map.epoch - before <= 10.0 / LOST_AFTER_S + 2


def test_a_node_that_stops_gives_its_clients_up_before_it_has_stopped(crowd: Crowd) -> None:
    crowd["b"].answers_runs = False
    crowd.command("b", Command.STOP)
    crowd.settle(1.0)
    assert crowd["b"].m.run is not None
    assert crowd.served() == {"a": 128, "b": 0, "c": 128}


def test_a_restart_in_place_keeps_the_share_and_orders_it_anew(crowd: Crowd) -> None:
    before, orders = crowd["b"].accepts, len(crowd["b"].ordered(TakeShare))
    crowd["b"].accepts = 0  # its resources were made anew
    crowd.command("b", Command.RESTART)
    crowd.settle(1.0)
    assert crowd["b"].accepts == before
    assert len(crowd["b"].ordered(TakeShare)) == orders + 1


@pytest.mark.parametrize("answers", [True, False])
def test_a_share_that_is_not_applied_ends_the_host(crowd: Crowd, answers: bool) -> None:
    crowd["b"].tell(WeightSet(MODULE, 10, by="test"))
    for _ in range(3):
        crowd.exchange(apply=False)
    assert crowd["b"].order is not None
    if answers:
        crowd["b"].apply(ok=False)
    else:
        crowd["b"].order = None
        crowd.settle(6.0)
    assert killed(crowd["b"])


def test_a_drained_node_gets_nothing_until_it_is_taken_in_again_over_a_restart_too(crowd: Crowd) -> None:
    crowd["b"].tell(WeightSet(MODULE, 0, by="test"))
    crowd.settle(1.0)
    assert crowd.served() == {"a": 128, "b": 0, "c": 128}
    kept = engine.durable(crowd["b"].node)
    crowd.ones["b"] = One("b", kept, incarnation=2)
    crowd["b"].now_s = crowd["a"].now_s
    crowd.settle()
    assert crowd.served() == {"a": 128, "b": 0, "c": 128}
    crowd["b"].tell(WeightSet(MODULE, None, by="test"))
    crowd.settle(1.0)
    assert crowd.served() == {"a": 86, "b": 85, "c": 85}


def test_weights_of_different_size_are_an_order(crowd: Crowd) -> None:
    for name, weight in (("a", 1_000_000), ("b", 1_000), ("c", 1)):
        module = replace(WEB, weight=weight)
        crowd[name].tell(Configured(membership(name, NAMES), (module,)))
    crowd.settle(1.0)
    assert crowd.served() == {"a": 256, "b": 0, "c": 0}
    lose(crowd, "a")
    assert crowd.served() == {"b": 256, "c": 0}


def test_of_a_daemon_that_restarts_nobody_serves_the_buckets_before_it_has_cleaned_up(crowd: Crowd) -> None:
    again = One("b", engine.durable(crowd["b"].node), incarnation=2)
    assert again.report.held == 0, "it cleaned up at once"
    kept = engine.durable(crowd["b"].node)
    silent = One.__new__(One)
    silent.__dict__.update(again.__dict__, node=engine.restore("b", kept))
    silent.tell(Configured(membership("b", NAMES), (WEB,)))
    assert silent.report.held == ALL


def test_a_node_that_slept_has_no_lease_before_it_has_released_everything(crowd: Crowd) -> None:
    one = crowd["b"]
    assert dict(engine.leases(one.node))[MODULE] < one.now_s + LOST_AFTER_S
    one.now_s += 2 * LOST_AFTER_S
    one.tell(TimePassed())
    assert engine.leases(one.node) == ()
    assert one.order is not None
    assert one.order.held == 0
    one.apply()
    assert dict(engine.leases(one.node))
    assert one.report.held == 0


def test_a_short_pause_costs_nothing(crowd: Crowd) -> None:
    one = crowd["b"]
    one.now_s += 0.4
    one.tell(TimePassed())
    assert dict(engine.leases(one.node))
    assert one.order is None


def test_who_had_a_bucket_before_is_known_while_it_runs(crowd: Crowd) -> None:
    before = owners_of(crowd["a"].report.map)
    crowd["b"].tell(WeightSet(MODULE, 0, by="test"))
    crowd.settle(1.0)
    known = crowd["a"].report.map
    assert all("b" in priors_of(known)[bucket] for bucket, owner in enumerate(before) if owner == "b")
    lose(crowd, "b")
    known = crowd["a"].report.map
    assert not any("b" in earlier for earlier in priors_of(known))
    assert set(owners_of(known)) == {"a", "c"}


def test_the_director_stays_while_it_serves(crowd: Crowd) -> None:
    director = crowd["a"].report.map.director
    other = next(name for name in NAMES if name != director)
    lose(crowd, other)
    assert crowd[director].report.map.director == director
    crowd[other].up = True
    crowd.settle(2.0)
    lose(crowd, director)
    assert crowd[other].report.map.director not in {"", director}


def test_a_new_host_is_not_believed_about_what_an_old_one_had_ordered(crowd: Crowd) -> None:
    """The old one's rules are still in the kernel, until the clean-up is done."""
    one, before = crowd["b"], crowd["b"].accepts
    one.answers_runs = False
    one.tell(HostLost(MODULE, "killed"))
    crowd.settle(0.5)
    assert one.m.run is not None
    assert one.order is None
    assert one.report.held == before
    assert crowd["a"].accepts & before == crowd["c"].accepts & before == 0


def test_a_clean_up_that_does_not_end_keeps_the_buckets_for_no_longer_than_the_loss_time(crowd: Crowd) -> None:
    one = crowd["b"]
    one.answers_runs = False
    one.tell(HostLost(MODULE, "killed"))
    one.accepts = 0  # the lease has lapsed
    crowd.settle(LOST_AFTER_S + 0.5)
    assert crowd.served() == {"a": 128, "b": 0, "c": 128}


def test_a_drained_node_that_hears_nobody_makes_no_map_of_nobody(crowd: Crowd) -> None:
    crowd["c"].tell(WeightSet(MODULE, 0, by="test"))
    crowd.settle(1.0)
    crowd.deaf = {"c"}
    crowd.settle(10.0)
    assert crowd.served() == {"a": 128, "b": 128, "c": 0}


def test_a_stopped_node_that_hears_nobody_keeps_nobody_from_taking_over(crowd: Crowd) -> None:
    crowd.command("c", Command.STOP)
    crowd.settle(1.0)
    crowd.deaf = {"c"}
    crowd.settle(3.0)
    lose(crowd, "b")
    assert crowd.served() == {"a": 256, "c": 0}


def test_who_has_lost_the_module_is_taken_to_serve_for_a_loss_time(crowd: Crowd) -> None:
    """Its configuration went, and its host is about to stop everything."""
    one, before = crowd["c"], crowd["c"].accepts
    one.tell(Configured(membership("c", NAMES), ()))
    one.mute = True
    crowd.settle(LOST_AFTER_S - 0.3)
    assert crowd["a"].accepts & before == crowd["b"].accepts & before == 0
    one.accepts = 0
    crowd.settle(1.0)
    assert crowd["a"].accepts | crowd["b"].accepts == ALL


def test_who_sleeps_again_and_again_leaves_its_part_to_the_others(crowd: Crowd) -> None:
    for _ in range(4):
        crowd["b"].now_s += 0.75 * LOST_AFTER_S
        crowd.settle(0.5)
    assert crowd.served() == {"a": 128, "b": 0, "c": 128}
    crowd.settle(3.0)
    assert crowd.served() == {"a": 86, "b": 85, "c": 85}


def test_a_new_leader_that_restarts_its_application_makes_its_map_all_the_same(crowd: Crowd) -> None:
    leader = crowd[crowd["a"].report.map.leader]
    heir = next(crowd[name] for name in NAMES if name != leader.name)
    heir.answers_runs = False
    crowd.command(heir.name, Command.RESTART)
    leader.tell(WeightSet(MODULE, 10, by="test"))
    crowd.exchange()
    crowd.command(leader.name, Command.STOP)
    crowd.settle(2 * LOST_AFTER_S + 0.5)
    assert heir.m.run is not None
    assert sum(crowd.served().values()) == 256


def test_a_stopped_farm_serves_nobody(crowd: Crowd) -> None:
    for name in NAMES:
        crowd.command(name, Command.STOP)
    crowd.settle(1.0)
    assert crowd.served() == {"a": 0, "b": 0, "c": 0}
    assert all(one.m.state is ModuleState.STOP for one in crowd.ones.values())


def test_connections_of_a_released_bucket_stay_before_the_map_gives_it_to_another(crowd: Crowd) -> None:
    """Between the release of a node that stops and the new map, packets of its connections still arrive."""
    served = crowd["c"].accepts
    crowd["c"].answers_runs = False
    crowd.command("c", Command.STOP)
    order = crowd["c"].order
    assert order is not None
    assert order.held == 0
    assert order.moving & served == served
