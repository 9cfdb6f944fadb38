"""Two nodes that cannot hear each other, under the safe policy: never twice."""

from __future__ import annotations

from collections.abc import Iterator

import lab_cluster
import pytest
from lab_cluster import VIP, Cluster

pytestmark = pytest.mark.system


@pytest.fixture
def safe() -> Iterator[Cluster]:
    """As `mirror`, with `isolation: safety`."""
    with lab_cluster.cluster(2, clients=1) as made:
        lab_cluster.add_apache_mirror(made, change=lambda text: text.replace("availability", "safety"))
        yield made


def test_the_survivor_of_a_crash_waits_says_why_and_obeys_the_operator(safe: Cluster) -> None:
    first, second = safe.nodes
    primary, survivor = (first, second) if safe.primary() is first else (second, first)
    primary.crash()
    safe.wait_state(survivor, "web", "WAIT/NotReady")
    why = " ".join(safe.safekit(survivor, "why", "web").stdout.split())
    assert "isolation" in why
    assert "safekit module prim web" in why
    assert VIP not in survivor.run(["ip", "address"]).stdout
    safe.safekit(survivor, "module", "prim", "web")
    safe.wait_state(survivor, "web", "ALONE/Ready")
    primary.boot()
    safe.safekit(primary, "daemon", "start")
    safe.wait_state(primary, "web", "SECOND/Ready")


def test_in_a_cut_cable_the_primary_stays_and_nobody_else_becomes_it(safe: Cluster) -> None:
    first, second = safe.nodes
    primary, other = (first, second) if safe.primary() is first else (second, first)
    other.cut(to=primary)
    safe.wait_state(primary, "web", "ALONE/Ready")
    safe.wait_state(other, "web", "WAIT/NotReady")
    assert VIP not in other.run(["ip", "address"]).stdout
    other.heal()
    safe.wait_state(other, "web", "SECOND/Ready")
    assert safe.primary() is primary


def test_an_orderly_stop_of_the_primarys_daemon_is_followed_at_once(safe: Cluster) -> None:
    first, second = safe.nodes
    primary, other = (first, second) if safe.primary() is first else (second, first)
    safe.safekit(primary, "daemon", "stop")
    safe.wait_state(other, "web", "ALONE/Ready")
