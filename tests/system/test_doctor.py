"""`safekit doctor` on real nodes: what is broken is named, on the node where it is, and mending it ends the finding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import lab_cluster
import pytest
from lab_cluster import Cluster

from safekit_lab.node import Node

pytestmark = pytest.mark.system
SKEW_S = 30.0


@pytest.fixture(scope="module")
def skewed() -> Iterator[Cluster]:
    """A mirror on two networks; the clock of the second node is wrong from the start."""
    with lab_cluster.cluster(2, clients=1, networks=2, formed=False) as made:
        made.nodes[1].step_clock(SKEW_S)
        made.form()
        lab_cluster.add_apache_mirror(made)
        yield made


def report(made: Cluster, node: Node, *words: str) -> dict[str, Any]:
    done = made.safekit(node, "doctor", "-o", "json", *words, ok=False)
    assert done.returncode in {0, 3}, done.stderr
    found = dict(json.loads(done.stdout))
    severities = {finding["severity"] for finding in found["findings"]}
    assert (done.returncode == 3) is bool(severities & {"alarm", "warning"})
    return found


def told(made: Cluster, node: Node, *words: str) -> dict[str, dict[str, Any]]:
    """Findings by name."""
    return {finding["name"]: finding for finding in report(made, node, *words)["findings"]}


def test_a_mirror_without_a_witness_and_a_wrong_clock_are_told_from_both_sides(skewed: Cluster) -> None:
    first, second = skewed.nodes
    for node, side in ((first, "30.0 s ahead of that of node1"), (second, "30.0 s behind that of node2")):
        found = told(skewed, node)
        assert "both run the module" in found["no-witness-availability"]["why"]
        assert side in found["clocks-differ"]["what"]
        assert "single-network" not in found
        assert not {name for name, finding in found.items() if finding["severity"] == "alarm"}


def test_a_network_that_is_cut_beside_another_is_told_and_ends_with_the_cut(skewed: Cluster) -> None:
    first, second = skewed.nodes
    first.cut(to=second, network=1)
    skewed.wait(lambda: told(skewed, second).get("network-silent", {}).get("nodes") is not None, "it is told")
    finding = told(skewed, second)["network-silent"]
    assert "'net1'" in finding["what"]
    assert report(skewed, second)["nodes"] == ["node1", "node2"]
    first.heal()
    skewed.wait(lambda: "network-silent" not in told(skewed, second), "it ends")


def test_a_full_disk_and_a_secondary_that_is_stopped_are_told_with_their_node(skewed: Cluster) -> None:
    primary, secondary = skewed.primary(), skewed.secondary()
    assert primary is not None
    assert secondary is not None
    skewed.safekit(secondary, "module", "stop", "web")
    skewed.safekit(secondary, "module", "failover", "web", "off")
    found = told(skewed, primary, "web")
    assert (found["no-standby"]["nodes"], found["no-standby"]["mend"]) == (
        [secondary.name],
        f"`safekit module start web --on {secondary.name}`",
    )
    assert found["failover-off"]["nodes"] == ["node1", "node2"]
    for mend in (found["no-standby"]["mend"], found["failover-off"]["mend"]):
        skewed.safekit(primary, *mend.strip("`").split()[1:])
    secondary.fill_disk()
    full = told(skewed, primary)["disk-nearly-full"]
    assert (full["severity"], full["nodes"]) == ("alarm", [secondary.name])
    secondary.free_disk()
    skewed.wait(skewed.is_well, "all is well")
    assert not {"no-standby", "failover-off", "disk-nearly-full"} & set(told(skewed, primary))


def test_a_snapshot_has_the_part_of_each_node_without_its_secrets_and_the_doctor_reads_it(skewed: Cluster) -> None:
    first, second = skewed.nodes
    skewed.write(second, "/etc/safekit/witness.token", "Planted-4kQz81\n", mode="0600")
    skewed.write(second, "/var/log/safekit/app.log", "the token Planted-4kQz81 was refused\n")
    skewed.safekit(first, "snapshot", "--out", "/srv/all.tar.gz")
    listed = first.run(["tar", "tzf", "/srv/all.tar.gz"]).stdout
    assert all(f"nodes/{node.name}/journal.jsonl" in listed for node in (first, second))
    text = first.run(["tar", "xOzf", "/srv/all.tar.gz"]).stdout
    assert "Planted-4kQz81" not in text
    assert "the token (removed) was refused" in text
    found = told(skewed, first, "/srv/all.tar.gz")
    assert "30.0 s ahead of that of node1" in found["clocks-differ"]["what"]
    assert set(found) == set(told(skewed, first))
    why = ("why", "web", "--on", second.name)
    assert skewed.safekit(first, *why, "--file", "/srv/all.tar.gz").stdout == skewed.safekit(first, *why).stdout


def test_a_node_whose_daemon_was_killed_is_told_by_the_other_and_by_itself(skewed: Cluster) -> None:
    primary, secondary = skewed.primary(), skewed.secondary()
    assert primary is not None
    assert secondary is not None
    secondary.run(["kill", "-9", secondary.run(["cat", "/run/safekit/safekitd.lock"]).stdout.strip()])
    skewed.wait(lambda: "node-unreachable" in told(skewed, primary), "it is told")
    assert told(skewed, primary)["node-unreachable"]["nodes"] == [secondary.name]
    assert f"{secondary.name} is not in it" in skewed.safekit(primary, "snapshot", "--out", "/srv/one.tar.gz").stderr
    assert told(skewed, primary, "/srv/one.tar.gz")["node-unreachable"]["nodes"] == [secondary.name]
    own = report(skewed, secondary)
    assert own["findings"][0]["name"] == "daemon-down"
    assert "killed or crashed" in own["findings"][0]["what"]
    assert own["findings"][0]["nodes"] == [secondary.name]
    skewed.safekit(secondary, "daemon", "start")
    skewed.wait(skewed.is_well, "all is well")
    skewed.wait(lambda: "node-unreachable" not in told(skewed, primary), "it ends")
