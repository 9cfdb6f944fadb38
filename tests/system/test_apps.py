"""Applications on real nodes, added by one command: a client's answers are right whatever dies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import apps_lab
import lab_cluster
import ledger
import postgresql_lab
import pytest
from lab_cluster import VIP, Cluster
from ledger import Disks

from safekit_lab.node import Node
from safekit_lab.process import Process

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
ANSWERS = "/var/log/answers"
PAGES = f"""\
import time, urllib.request
with open("{ANSWERS}", "a", 1) as answers:
    while True:
        try:
            with urllib.request.urlopen("http://{VIP}/", timeout=1) as page:
                print(page.read(100).decode().strip().replace(" ", "_") or "nothing", file=answers)
        except OSError:
            pass  # nobody answers for a moment, which is no wrong answer
        time.sleep(0.02)
"""


@pytest.fixture
def disks() -> Iterator[Disks]:
    with ledger.disks() as made:
        yield made


@pytest.fixture
def database(disks: Disks) -> Iterator[Cluster]:
    with lab_cluster.cluster(binds=[disks.bind]) as made:
        for node in made.nodes:
            disks.mount(made, node)
        postgresql_lab.make_database(made, made.nodes[0])
        postgresql_lab.add_mirror(made)
        yield made


def kill_the_server(made: Cluster) -> None:
    primary, _ = made.roles()
    before = made.looped(primary)
    primary.run(["kill", "-9", *primary.run(["pgrep", "-o", "-x", "postgres"]).stdout.split()])
    made.wait(lambda: made.looped(primary) > before, "its death is seen")
    made.wait_state(primary, "web", "PRIM/Ready", "ALONE/Ready")


def crash(made: Cluster, disks: Disks) -> None:
    primary, survivor = made.roles()
    made.follow_crash(primary, survivor)
    primary.boot()
    disks.mount(made, primary)
    made.safekit(primary, "daemon", "start")
    made.wait(lambda: postgresql_lab.is_paired(survivor), "both have everything again", 90.0)


def swap(made: Cluster) -> None:
    _, secondary = made.roles()
    made.swap(secondary)


@pytest.mark.long
def test_every_acknowledged_transaction_is_there_after_a_kill_a_crash_and_a_swap(
    database: Cluster, disks: Disks
) -> None:
    deeds: list[Callable[[], None]] = [
        lambda: kill_the_server(database),
        lambda: crash(database, disks),
        lambda: swap(database),
    ]
    for deed in deeds:
        acknowledged, there = postgresql_lab.under_load(database, deed)
        assert acknowledged <= there
    verified = database.safekit(database.nodes[0], "rfs", "verify", "web", ok=False)
    assert verified.returncode == 0, verified.stdout
    primary, secondary = database.roles()
    database.safekit(secondary, "module", "stop", "web")
    database.safekit(primary, "module", "stop", "web")
    assert "shut down\n" in primary.run([f"{postgresql_lab.PROGRAMS}/pg_controldata", ledger.DIRECTORY]).stdout
    for node in database.nodes:
        assert node.run(["pgrep", "-x", "postgres"], check=False).stdout == ""


@pytest.mark.long
@pytest.mark.parametrize("name", apps_lab.PAGES)
def test_a_client_of_pages_has_no_wrong_answer_whatever_dies(name: str) -> None:
    with lab_cluster.cluster() as made:
        apps_lab.add_pages(made, name)
        primary, secondary = made.roles()
        asking = ask_for_pages(made)
        goes_on(made, primary)
        before = made.looped(primary)
        apps_lab.kill_processes(primary, "-x", apps_lab.PAGES[name])
        made.wait(lambda: made.looped(primary) > before, "its death is seen")
        made.wait_state(primary, "web", "PRIM/Ready")
        goes_on(made, primary)
        made.swap(secondary)
        goes_on(made, secondary)
        made.follow_crash(secondary, primary)
        goes_on(made, primary)
        asking.kill()
        asking.wait(10.0)
        assert set(answers(made)) <= {node.name for node in made.nodes}
        made.safekit(primary, "module", "stop", "web")
        assert primary.run(["pgrep", "-x", apps_lab.PAGES[name]], check=False).stdout == ""


@pytest.mark.long
def test_a_client_of_services_on_every_node_has_no_wrong_answer_whatever_dies() -> None:
    command = f"{sys.executable} -m http.server 80 --directory /var/www/html"
    with lab_cluster.cluster() as made:
        lab_cluster.home_pages(made)
        first, second = made.nodes
        asked = ("--app", "farm", "--vip", f"{VIP}/24", "--port", "80", "--set", f"command={command}")
        made.safekit(first, "module", "add", "web", *asked)
        made.safekit(first, "module", "start", "web", "--all")
        made.wait(made.shares_are_complete, "every bucket is served", 60.0)
        asking = ask_for_pages(made)
        goes_on(made, first)
        goes_on(made, second)
        before = made.looped(first)
        first.run(["kill", "-9", *first.run(["pgrep", "-f", "http.server 80"]).stdout.split()])
        made.wait(lambda: made.looped(first) > before, "its death is seen")
        goes_on(made, first)
        first.crash()
        goes_on(made, second)
        made.boot(first)
        goes_on(made, first)
        made.safekit(second, "module", "stop", "web")
        assert second.run(["pgrep", "-f", "http.server 80"], check=False).stdout == ""
        goes_on(made, first)
        asking.kill()
        asking.wait(10.0)
        assert set(answers(made)) <= {node.name for node in made.nodes}


def ask_for_pages(made: Cluster) -> Process:
    client = made.lab.client()
    made.write(client, "/opt/pages.py", PAGES)
    return client.start([sys.executable, "/opt/pages.py"])


def answers(made: Cluster) -> list[str]:
    return made.lab.client().run(["cat", ANSWERS], check=False).stdout.split()


def goes_on(made: Cluster, node: Node) -> None:
    """From now on this one answers."""
    known = len(answers(made))
    made.wait(lambda: answers(made)[known:].count(node.name) > 10, f"{node.name} answers")
