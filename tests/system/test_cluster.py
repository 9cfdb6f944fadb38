"""Making a cluster, and who is kept out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import lab_cluster
import pytest
from lab_cluster import Cluster

from safekit_lab.node import Node

pytestmark = pytest.mark.system


def token(made: Cluster, node: Node, *words: str) -> str:
    return made.safekit(node, "cluster", "token", *words).stdout.strip()


def refused(made: Cluster, node: Node, *words: str) -> str:
    """What it says when it does not do it."""
    done = made.safekit(node, *words, ok=False)
    assert done.returncode != 0, done.stdout
    assert done.stderr.startswith("safekit"), done.stderr
    return done.stderr


def is_member(node: Node) -> bool:
    return node.run(["ls", "/etc/safekit/node.key"], check=False).returncode == 0


def join(made: Cluster, node: Node, with_token: str) -> str:
    return refused(made, node, "cluster", "join", with_token, "--node", node.name, "--address", node.address())


@pytest.fixture
def three() -> Iterator[Cluster]:
    """Three nodes; the first is a cluster of its own and runs."""
    with lab_cluster.cluster(3, formed=False) as made:
        first = made.nodes[0]
        made.safekit(first, "cluster", "init", "--node", first.name, "--address", first.address())
        made.safekit(first, "daemon", "start")
        yield made


def test_wrong_tokens_are_refused_and_leave_nothing_half_done(three: Cluster) -> None:
    first, second, third = three.nodes
    good = token(three, first)
    assert "token" in join(three, second, "nonsense")
    assert "token" in join(three, second, good[:-6])
    assert not is_member(second)
    three.safekit(second, "cluster", "join", good, "--node", second.name, "--address", second.address())
    assert is_member(second)
    assert "token" in join(three, third, good)
    assert not is_member(third)


def test_an_expired_token_is_refused(three: Cluster) -> None:
    first, second, _ = three.nodes
    short = token(three, first, "--ttl", "1s")
    second.run(["sleep", "1.2"])
    assert "expired" in join(three, second, short)
    assert not is_member(second)


def test_a_name_or_an_address_that_is_taken_is_refused(three: Cluster) -> None:
    first, second, _ = three.nodes
    words = ("cluster", "join", token(three, first))
    assert first.name in refused(three, second, *words, "--node", first.name, "--address", second.address())
    words = ("cluster", "join", token(three, first))
    assert first.address() in refused(three, second, *words, "--node", second.name, "--address", first.address())
    assert not is_member(second)


def test_a_member_joins_no_second_cluster(three: Cluster) -> None:
    first, second, third = three.nodes
    three.safekit(third, "cluster", "init", "--node", third.name, "--address", third.address())
    assert "in a cluster already" in join(three, third, token(three, first))
    assert not is_member(second)


def test_a_node_of_another_cluster_is_not_heard(three: Cluster) -> None:
    """It has the address that the first cluster expects of its second node, and a key that nobody there knows."""
    first, second, _ = three.nodes
    good = token(three, first)
    three.safekit(second, "cluster", "join", good, "--node", second.name, "--address", second.address())
    three.safekit(second, "daemon", "start")
    made = Cluster(three.lab)
    made.nodes = three.nodes[:2]
    made.wait(made.all_hear_each_other, "the two hear each other")
    second.crash()
    second.boot()
    second.run(["rm", "-r", "/etc/safekit", "/var/lib/safekit"])
    three.safekit(second, "cluster", "init", "--node", second.name, "--address", second.address())
    three.safekit(second, "daemon", "start")
    second.run(["sleep", "2"])
    peers = three.statuses(first)[first.name]["result"]["peers"]
    assert [(peer["node"], peer["alive"]) for peer in peers] == [(second.name, False)]
    assert three.statuses(second)[second.name]["result"]["peers"] == []


def test_a_second_daemon_on_a_node_is_refused(three: Cluster) -> None:
    first = three.nodes[0]
    assert "runs on this node already" in refused(three, first, "daemon", "start")
    assert "runs on this node already" in refused(three, first, "daemon", "run")
    assert first.name in three.statuses(first)


def test_a_node_without_a_cluster_says_what_to_do(three: Cluster) -> None:
    second = three.nodes[1]
    assert "safekit cluster" in refused(three, second, "daemon", "start")
    assert "safekit daemon start" in refused(three, second, "status")


def test_the_key_is_for_root_only_and_nothing_is_world_readable(three: Cluster) -> None:
    first = three.nodes[0]
    token(three, first)
    open_to_others = first.run(["find", "/etc/safekit", "/var/lib/safekit", "/run/safekit", "-perm", "/o=rwx"])
    inside = [path for path in open_to_others.stdout.split() if not closed_above(first, path)]
    assert inside == []


def closed_above(node: Node, path: str) -> bool:
    """Whether a folder above it lets only root in."""
    folders = ["/".join(path.split("/")[:n]) for n in range(2, path.count("/") + 1)]
    modes = node.run(["stat", "-c", "%a", *folders]).stdout.split() if folders else []
    return any(re.fullmatch("7?[0-7]?00", mode) for mode in modes)


def test_with_two_networks_one_may_fail() -> None:
    with lab_cluster.cluster(2, networks=2) as made:
        first, second = made.nodes
        second.cut(network=0)
        made.wait(lambda: one_network_left(made, first), "the first network is silent")
        assert made.all_hear_each_other()
        second.cut(network=1)
        made.wait(lambda: not made.all_hear_each_other(), "the other is lost")
        second.heal()
        made.wait(made.all_hear_each_other, "both are heard again")


def test_networks_come_and_go_and_a_dead_node_is_taken_out() -> None:
    with lab_cluster.cluster(3, formed=False, networks=2) as made:
        first, second, third = made.nodes
        made.safekit(first, "cluster", "init", "--node", first.name, "--address", first.address())
        made.safekit(first, "daemon", "start")
        for node in (second, third):
            good = token(made, first)
            made.safekit(node, "cluster", "join", good, "--node", node.name, "--address", node.address())
            made.safekit(node, "daemon", "start")
        made.wait(made.all_hear_each_other, "all are heard")
        named = [f"{node.name}={node.address(1)}" for node in made.nodes]
        wrong = [*named[:2], f"{third.name}=192.0.2.9"]
        assert "cannot listen on 192.0.2.9" in refused(made, first, "cluster", "network", "add", "back", *wrong)
        assert networks(made, second) == {"lan"}
        made.safekit(first, "cluster", "network", "add", "back", *named)
        made.wait(lambda: networks(made, second) == {"lan", "back"}, "both networks are heard")
        assert "not NODE=ADDRESS" in refused(made, second, "cluster", "network", "add", "third", "here")
        made.safekit(second, "cluster", "network", "remove", "lan")
        made.wait(lambda: networks(made, first) == {"back"}, "one network is left")
        assert made.all_hear_each_other()
        assert "no address on another" in refused(made, second, "cluster", "network", "remove", "back")

        assert "does not remove itself" in refused(made, third, "cluster", "remove", third.name)
        third.crash()
        assert "--force" in refused(made, first, "cluster", "remove", third.name)
        made.safekit(first, "cluster", "remove", third.name, "--force")
        answers = made.statuses(second)
        assert set(answers) == {first.name, second.name}
        assert all(peer["alive"] for answer in answers.values() for peer in answer["result"]["peers"])


def networks(made: Cluster, node: Node) -> set[str]:
    """On which it hears others at present."""
    peers = made.statuses(node)[node.name]["result"]["peers"]
    return {name for peer in peers for name, since_s in peer["networks"].items() if since_s < 1.0}


def one_network_left(made: Cluster, node: Node) -> bool:
    (peer,) = made.statuses(node)[node.name]["result"]["peers"]
    silent = [network for network, since_s in peer["networks"].items() if since_s > 1.0]
    return peer["alive"] and len(silent) == 1
