"""Two versions in one cluster, and a rolling upgrade from one to the other under the load of clients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import farm_clients
import lab_cluster
import packaging_lab
import pytest
from farm_clients import Asked
from lab_cluster import VIP, Cluster, Done
from packaging_lab import Environment, Wheels, typed
from workspace import ROOT

from safekit_lab import Lab
from safekit_lab.node import Node

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]
CLIENTS = [f"10.77.0.{number}" for number in range(120, 140)]
URL = f"http://{VIP}/"


def before() -> str:
    """The version to come from: SAFEKIT_UPGRADE_FROM, else the last tag, else what was there 20 commits ago."""
    tags = typed(["git", "tag", "--merged", "HEAD", "--sort=-creatordate"]).stdout.split()
    return os.environ.get("SAFEKIT_UPGRADE_FROM") or next(iter(tags), "HEAD~20")


class Versions:
    """The same packages twice, each in an environment that nodes see."""

    def __init__(self, place: Path) -> None:
        self.old = self._install(place / "old", packaging_lab.earlier(before(), place))
        self.new = self._install(place / "new", ROOT)

    @staticmethod
    def _install(place: Path, sources: Path) -> Path:
        needed = [packaging_lab.package(name).directory for name in sorted(packaging_lab.needs("safekit-apache"))]
        wheels = Wheels(place)
        wheels.build(sources / directory for directory in needed)
        wheels.download("safekit-apache")
        fresh = Environment(place / "venv")
        fresh.pip("install", "--quiet", *wheels.options, "safekit-apache")
        return fresh.program("safekit")


class Mixed(Cluster):
    """Nodes of the old version, until they are upgraded."""

    def __init__(self, lab: Lab, versions: Versions) -> None:
        super().__init__(lab)
        self._versions = versions
        self._runs = dict.fromkeys((node.name for node in lab.nodes), versions.old)

    def safekit(self, node: Node, *words: str, ok: bool = True, timeout_s: float = 120.0, stdin: str = "") -> Done:
        done = node.run([str(self._runs[node.name]), *words], check=False, timeout_s=timeout_s, stdin=stdin)
        assert not ok or done.returncode == 0, f"{node.name}: safekit {' '.join(words)}: {done.stdout}{done.stderr}"
        return done

    def upgrade(self, node: Node) -> None:
        self.safekit(node, "daemon", "stop")
        self._runs[node.name] = self._versions.new
        self.safekit(node, "daemon", "start")
        self.wait(self.all_hear_each_other, f"{node.name} is heard with its new version")


@pytest.fixture(scope="module")
def versions() -> Iterator[Versions]:
    with packaging_lab.visible() as place:
        yield Versions(place)


def test_a_farm_is_upgraded_node_by_node_without_a_failed_request(versions: Versions) -> None:
    with Lab.up(nodes=3, clients=1) as lab:
        made = Mixed(lab, versions)
        made.form()
        lab_cluster.add_apache_farm(made)
        client = lab.client()
        for address in CLIENTS:
            client.run(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
        load = client.start(farm_clients.program(URL, 0.1, CLIENTS))
        try:
            made.wait(lambda: len(asked(load.output)) > len(CLIENTS), "every client has asked")
            for node in made.nodes:
                made.upgrade(node)
                made.wait(made.shares_are_complete, f"all is served after {node.name}", 60.0)
                assert load.returncode is None
                for other in made.nodes:
                    assert made.statuses(other).keys() == {one.name for one in made.nodes}
        finally:
            load.kill()
        requests = asked(load.output)
        assert [one for one in requests if not one.server] == []
        assert {one.server for one in requests} == {node.name for node in made.nodes}


def asked(output: str) -> list[Asked]:
    return farm_clients.records(output.splitlines())


def test_a_mirror_is_upgraded_with_one_swap(versions: Versions) -> None:
    with Lab.up(nodes=2, clients=1) as lab:
        made = Mixed(lab, versions)
        made.form()
        lab_cluster.add_apache_mirror(made)
        primary, secondary = made.roles()
        made.upgrade(secondary)
        assert made.roles() == (primary, secondary)
        made.swap(secondary)
        assert made.roles() == (secondary, primary)
        made.upgrade(primary)
        assert made.roles() == (secondary, primary)
