"""Each application as a stranger has it: from wheels, by one command, under load, whatever dies, and away again."""

from __future__ import annotations

from collections.abc import Iterator

import apps_lab
import lab_cluster
import ledger
import packaging_lab
import pytest
from apps_lab import APPLICATIONS, Application, Client
from lab_cluster import Cluster
from ledger import Disks
from packaging_lab import Environment, Wheels

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
ALWAYS = "postgresql"
"""With data, a client of its own and all that can be left; the others are `long`."""
KEPT = ("/etc/safekit", "/var/lib/safekit", "/var/log/safekit", "/run/safekit", f"{ledger.DIRECTORY}/.safekit-rfs")
"""What docs/how-to/applications.md says that stays when the packages go."""


@pytest.fixture(scope="module")
def wheels() -> Iterator[Wheels]:
    """Of every application, in a folder that the nodes see."""
    wanted = {app.package for app in APPLICATIONS.values()}
    with packaging_lab.visible() as place:
        made = Wheels(place)
        needed = set().union(*map(packaging_lab.needs, wanted))
        made.build(packaging_lab.package(name).path for name in sorted(needed))
        made.download(*wanted)
        yield made


@pytest.fixture
def disks() -> Iterator[Disks]:
    with ledger.disks() as made:
        yield made


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == ALWAYS else pytest.mark.long) for name in APPLICATIONS]
)
def test_an_application_from_wheels_keeps_what_it_acknowledged_whatever_dies_and_leaves_nothing(
    name: str, wheels: Wheels, disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = APPLICATIONS[name]
    fresh = Environment(wheels.place / name)
    fresh.pip("install", "--quiet", *wheels.options, app.package)
    assert fresh.own() == packaging_lab.needs(app.package)
    monkeypatch.setattr(lab_cluster, "SAFEKIT", str(fresh.program("safekit")))
    with lab_cluster.cluster(formed=False, binds=[disks.bind]) as made:
        apps_lab.prepare(made, app, disks)
        before = [packaging_lab.traces(node) for node in made.nodes]
        made.form()
        apps_lab.add(made, app)
        for node in made.nodes:
            running = node.run(["pgrep", "-af", "safekit[._](daemon|host)"]).stdout.splitlines()
            assert [f" {fresh.place}/bin/" in line for line in running] == [True, True], running
        client = Client(made, app)
        client.goes_on(apps_lab.await_well(made, app)[0])
        go_through(made, app, client, disks)
        client.end()
        assert client.wrong() == []
        keeps_what_it_acknowledged(made, app, client)
        stop(made, app)
        made.safekit(made.nodes[0], "module", "remove", "web")
        for node, was in zip(made.nodes, before, strict=True):
            assert not node.run(["ls", "/etc/safekit/modules"]).stdout.split()
            made.safekit(node, "daemon", "stop")
            fresh.leave(node)
            node.run(["rm", "-rf", *KEPT])
            assert sorted(packaging_lab.traces(node) - was) == []


def go_through(made: Cluster, app: Application, client: Client, disks: Disks) -> None:
    """It is killed, its node crashes and comes back, it is moved by plan; the client is served after each."""
    primary, _ = apps_lab.await_well(made, app)
    before = made.looped(primary)
    apps_lab.kill_processes(primary, *app.process)
    made.wait(lambda: made.looped(primary) > before, "its death is seen")
    primary, other = apps_lab.await_well(made, app)  # a service of the generic mirror goes over to the other node
    client.goes_on(primary)
    primary.crash()
    client.goes_on(other)
    apps_lab.boot(made, app, disks, primary)
    client.goes_on(other)
    if app.is_farm:
        client.goes_on(primary)
        made.safekit(primary, "module", "stop", "web")
        client.goes_on(other)
        made.safekit(primary, "module", "start", "web")
        apps_lab.await_well(made, app)
    else:
        made.swap(primary)
    client.goes_on(primary)
    apps_lab.await_well(made, app)


def keeps_what_it_acknowledged(made: Cluster, app: Application, client: Client) -> None:
    """Each is there, and both nodes have the same."""
    acknowledged = client.acknowledged()
    assert len(acknowledged) >= 4 * apps_lab.ENOUGH
    if app.numbers is not None:
        primary, _ = made.roles()
        assert acknowledged - app.numbers(primary) == set()
        verified = made.safekit(primary, "rfs", "verify", "web", ok=False)
        assert verified.returncode == 0, verified.stdout


def stop(made: Cluster, app: Application) -> None:
    """The secondary first: the last words of a database then wait for nobody."""
    primary, other = apps_lab.await_well(made, app)
    for node in (other, primary):
        made.safekit(node, "module", "stop", "web")
        assert node.run(["pgrep", *app.process], check=False).stdout == ""
    assert app.ended(primary)
