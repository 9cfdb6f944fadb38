"""`safekit replay` of what happened on real nodes."""

from __future__ import annotations

import json
from typing import Any

import lab_cluster
import pytest
from lab_cluster import VIP, Cluster

from safekit_lab.node import Node

pytestmark = pytest.mark.system
MIRROR = f"kind: mirror\nisolation: availability\npipeline:\n  - vip: {{address: {VIP}/24}}\n"


def replayed(made: Cluster, node: Node, *words: str) -> dict[str, Any]:
    done = made.safekit(node, "replay", "web", "--since", "10m", "-o", "json", *words, ok=False)
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    found = dict(json.loads(done.stdout))
    same = all(finding["outcome"] == "as recorded" for finding in found["findings"])
    assert (done.returncode == 0) is (same and not found["deviations"])
    return found


def told(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["what"]: (each["outcome"], each["judgement"]) for each in found["findings"]}


def test_a_peer_that_stood_still_was_lost_for_nothing_and_a_longer_loss_time_avoids_it(pair: Cluster) -> None:
    lab_cluster.add_mirror(pair, MIRROR)
    primary, secondary = pair.roles()
    daemon = primary.run(["cat", "/run/safekit/safekitd.lock"]).stdout.strip()
    primary.run(["kill", "-STOP", daemon])
    try:
        pair.wait(lambda: "was silent for" in pair.safekit(secondary, "log", "web").stdout, "it is taken over")
    finally:
        primary.run(["kill", "-CONT", daemon])
    pair.roles()
    lost = f"{primary.name} counts as lost"
    recorded = replayed(pair, secondary)
    assert recorded["deviations"] == []
    assert told(recorded) == {lost: ("as recorded", "false"), "takes over": ("as recorded", "false")}
    longer = replayed(pair, secondary, "--set", "heartbeat.lost_after=20s")
    without = ("would not have happened", "false")
    assert told(longer) == {lost: without, "takes over": without}
    assert "without a restart" in longer["findings"][0]["evidence"]
    assert replayed(pair, primary)["deviations"] == []

    pair.safekit(secondary, "daemon", "stop")
    secondary.run(["cp", "-r", "/var/lib/safekit", "/var/copy"])
    copied = replayed(pair, secondary, "--file", "/var/copy/history.db", "--set", "isolation=safety")
    assert (copied["node"], copied["deviations"]) == (secondary.name, [])
    assert told(copied)["takes over"] == without
