import pytest

from safekit_lab import LabError
from safekit_lab.layout import LabSpec
from safekit_lab.losses import Way, ruleset, ways

SPEC = LabSpec(name="t", nodes=3, networks=2)


def test_a_cut_of_a_node_touches_both_directions_to_all_others_on_all_networks() -> None:
    found = set(ways(SPEC, "node1"))
    assert len(found) == 2 * 2 * 2
    assert Way(1, "node3", "node1") in found and Way(1, "node1", "node3") in found


def test_in_and_out_are_seen_from_the_node() -> None:
    assert list(ways(SPEC, "node1", "node2", 0, "in")) == [Way(0, "node2", "node1")]
    assert list(ways(SPEC, "node1", "node2", 0, "out")) == [Way(0, "node1", "node2")]


def test_a_network_that_is_not_there_is_refused() -> None:
    with pytest.raises(LabError, match="networks are 0 to 1"):
        list(ways(SPEC, "node1", network=2))


def test_a_cut_drops_always_and_a_loss_by_chance() -> None:
    text = ruleset({Way(0, "node1", "node2"): 100.0, Way(0, "node2", "node1"): 2.5}, [])
    assert 'iifname . oifname { "node1-0" . "node2-0" } drop' in text
    assert 'iifname . oifname { "node2-0" . "node1-0" } numgen random mod 10000 < 250 drop' in text


def test_a_silent_machine_neither_sends_nor_receives() -> None:
    text = ruleset({}, [("node1", 0), ("node1", 1)])
    assert 'iifname { "node1-0", "node1-1" } drop' in text
    assert 'oifname { "node1-0", "node1-1" } drop' in text
