"""A node dies: what Prometheus gets of it, and what people are told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import lab_cluster
import ledger
import pytest
from lab_cluster import VIP, Cluster
from ledger import Disks
from observed_lab import HOOK_PORT, Prometheus, hooked, is_root, number, scrape, start_hook, start_service

from safekit_lab.node import Node
from safekit_lab.process import Process

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]
MIRROR = f"""\
kind: mirror
isolation: availability
heartbeat: {{interval: 50ms, lost_after: 800ms}}
pipeline:
  - vip: {{address: {VIP}/24}}
"""
FARM = """\
kind: farm
pipeline:
  - nft-lb: {addresses: [10.77.0.101], rules: [{port: 80, hash: client_address}]}
  - vip: {address: 10.77.0.101/24}
"""
DURATION = "safekit_failover_duration_seconds"


def start_notifying(made: Cluster, node: Node) -> Process:
    """The hook on the client is told, soon."""
    url = f"json://{made.lab.client().address()}:{HOOK_PORT}/"
    text = f'quiet: 1s\nstand_in: 3s\ndestinations: [{{name: hook, url: "{url}"}}]\n'
    made.write(node, "/etc/safekit/notify.yaml", text, "0640")
    return start_service(made, node, "notify", "follows the cluster")


def test_a_death_is_measured_by_who_takes_over_and_told_once_with_its_why() -> None:
    with lab_cluster.cluster(2, clients=1) as made:
        lab_cluster.add_mirror(made, MIRROR)
        primary, secondary = made.roles()
        hook = start_hook(made)
        services = [(node, start_notifying(made, node)) for node in made.nodes]
        services.append((secondary, start_service(made, secondary, "metrics", "serves http")))
        assert [is_root(node, process) for node, process in services] == [False] * 3
        made.safekit(secondary, "console", "setup")  # its group is there already
        assert secondary.run(["id", "-gn", "safekit-console"]).stdout == "safekit-console\n"
        before = scrape(secondary)
        assert number(before, "safekit_module_state", module="web", node=secondary.name, state="SECOND") == 1
        assert number(before, "safekit_peer_alive", peer=primary.name) == 1
        trial = made.safekit(secondary, "notify", "test")
        assert trial.stdout == "hook: sent\n"
        made.follow_crash(primary, secondary)
        after = scrape(secondary)
        assert number(after, "safekit_module_primary", module="web", node=secondary.name) == 1
        assert number(after, "safekit_peer_alive", peer=primary.name) == 0
        assert number(after, "safekit_module_epoch") > number(before, "safekit_module_epoch")
        assert number(after, f"{DURATION}_count", cause="takeover", module="web") == 1
        assert 0 < number(after, f"{DURATION}_sum", cause="takeover", module="web") < 30
        made.wait(lambda: len(hooked(hook)) >= 2, "people are told", 60.0)
        _, told = hooked(hook)
        assert told["title"].startswith(
            f"[warning] {made.statuses(secondary)[secondary.name]['result']['cluster']}: web"
        )
        assert f"safekit why web --on {secondary.name}" in told["message"]
        assert "rule: takeover" in told["message"]
        assert primary.name in told["message"]


@pytest.fixture
def disks() -> Iterator[Disks]:
    with ledger.disks() as made:
        yield made


@pytest.mark.long
def test_prometheus_gets_every_number_of_the_dashboard_and_rings(disks: Disks) -> None:
    """A farm, and a mirror whose data are replicated, scraped by TLS and token."""
    with lab_cluster.cluster(2, clients=1, networks=2, binds=[disks.bind]) as made:
        for node in made.nodes:
            disks.mount(made, node)
        lab_cluster.add_replicated_mirror(made, f"{MIRROR.partition('pipeline')[0]}pipeline:\n{ledger.STEPS}")
        made.write(made.nodes[0], "/etc/safekit/modules/front/module.yaml", FARM)
        made.safekit(made.nodes[0], "apply", "front")
        made.safekit(made.nodes[0], "module", "start", "front", "--all")
        prometheus = Prometheus(made)
        made.wait(
            lambda: len(prometheus.ask("query", query='safekit_module_state{module="front",state="UP"} == 1')) == 2,
            "the farm runs on both",
        )
        primary, secondary = made.roles()
        made.follow_crash(primary, secondary)
        made.wait(lambda: {"SafekitFailedOver", "SafekitNodeLost"} <= rings(prometheus), "both alerts ring", 120.0)
        panels = json.loads(made.safekit(secondary, "metrics", "dashboard").stdout)["panels"]
        expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
        for expression in expressions:
            prometheus.ask("query", query=re.sub(r"\$\w+", ".*", expression))
        wanted = set(re.findall(r"\bsafekit_[a-z_]+", " ".join(expressions)))
        missing = wanted - set(prometheus.ask("label/__name__/values"))
        assert {name for name in missing if "resync" not in name} == set()  # of a resync it may have seen nothing


def rings(prometheus: Prometheus) -> set[str]:
    return {alert["labels"]["alertname"] for alert in prometheus.ask("alerts")}
