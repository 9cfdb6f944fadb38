"""Apache on three nodes that share one address, under what happens to machines and programs."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import farm_clients
import lab_cluster
import pytest
from farm_clients import Asked
from lab_cluster import VIP, Cluster, FailedError

from safekit_lab.node import Node

pytestmark = pytest.mark.system
CLIENTS = [f"10.77.0.{number}" for number in range(120, 150)]
URL = f"http://{VIP}/"


@pytest.fixture(scope="module")
def farm() -> Iterator[Cluster]:
    """Three nodes with a sticky farm of Apache, and thirty clients. A test leaves every bucket served."""
    with lab_cluster.cluster(3, clients=1) as made:
        lab_cluster.add_apache_farm(made, "--vip", f"{VIP}/24", "--sticky")
        for client in CLIENTS:
            made.lab.client().run(["ip", "address", "add", f"{client}/24", "dev", "eth0"])
        yield made


def during(farm: Cluster, event: Callable[[], None], before_s: float = 0.5, after_s: float = 1.0) -> list[Asked]:
    """Thirty clients ask all the time, each ten times a second, while it happens."""
    asking = farm.lab.client().start(farm_clients.program(URL, 0.1, CLIENTS))
    try:
        farm.wait(lambda: set(at_start(farm_clients.records(asking.output.splitlines()))) == set(CLIENTS), "all ask")
        time.sleep(before_s)
        event()
        time.sleep(after_s)
    finally:
        asking.kill(signal.SIGTERM)
        asking.wait(10.0)
    asked = farm_clients.records(asking.output.splitlines())
    assert {request.client for request in asked} == set(CLIENTS), asking.output[-2000:]
    return asked


def servers(asked: list[Asked]) -> dict[str, set[str]]:
    """By whom each client was served."""
    found: dict[str, set[str]] = {client: set() for client in CLIENTS}
    for request in asked:
        if request.server:
            found[request.client].add(request.server)
    return found


def at_start(asked: list[Asked]) -> dict[str, str]:
    """Who served each client first."""
    return {request.client: request.server for request in reversed(asked) if request.server}


def failed(asked: list[Asked], clients: set[str] | None = None) -> list[Asked]:
    return [request for request in asked if request.error and (clients is None or request.client in clients)]


def director(farm: Cluster) -> Node:
    name = farm.farm(next(node for node in farm.nodes if node.state == "running"))["director"]
    return farm.lab.node(name)


def complete(farm: Cluster) -> None:
    farm.wait(farm.shares_are_complete, "every bucket is served by one node")


def show(farm: Cluster, *words: str) -> dict[str, Any]:
    return dict(json.loads(farm.safekit(farm.nodes[0], "farm", "show", "web", "-o", "json", *words).stdout))


def test_each_client_is_served_by_one_node_that_farm_show_names(farm: Cluster) -> None:
    asked = during(farm, lambda: None)
    assert not failed(asked)
    found = servers(asked)
    assert all(len(names) == 1 for names in found.values()), found
    assert set(Counter(name for names in found.values() for name in names)) == {"node1", "node2", "node3"}
    for client in CLIENTS[:5]:
        (told, _) = show(farm, "--client", client, "--over", "0.1")["client"]
        assert f": {next(iter(found[client]))}, as its address is in bucket" in told


def test_of_a_crashed_node_the_others_take_over_and_their_own_clients_notice_nothing(farm: Cluster) -> None:
    gone = next(node for node in farm.nodes if node is not director(farm))

    def crash() -> None:
        gone.crash()
        complete(farm)

    asked = during(farm, crash)
    first = at_start(asked)
    others = {client for client, server in first.items() if server != gone.name}
    assert not failed(asked, others)
    assert all(servers(asked)[client] == {first[client]} for client in others)
    bereft = set(CLIENTS) - others
    assert bereft
    last = {request.client: request.server for request in asked}
    assert all(last[client] not in {"", gone.name} for client in bereft), last

    def back() -> None:
        gone.boot()
        farm.safekit(gone, "daemon", "start")
        farm.wait(lambda: farm.farm(gone).get("held", 0) > 0, "it has its share again")
        complete(farm)

    asked = during(farm, back)
    assert not failed(asked)
    assert gone.name in {request.server for request in asked[-60:]}


def test_the_director_crashes_and_another_answers_for_the_address(farm: Cluster) -> None:
    gone = director(farm)

    def crash() -> None:
        gone.crash()
        complete(farm)

    asked = during(farm, crash, after_s=2.5)
    last = {request.client: request.server for request in asked}
    assert all(server not in {"", gone.name} for server in last.values()), last
    assert director(farm) is not gone
    gone.boot()
    farm.safekit(gone, "daemon", "start")
    complete(farm)


def test_a_node_is_stopped_and_started_and_no_request_fails(farm: Cluster) -> None:
    leaver = director(farm)

    def leave_and_come_back() -> None:
        farm.safekit(leaver, "module", "stop", "web")
        farm.safekit(leaver, "module", "start", "web")
        complete(farm)

    asked = during(farm, leave_and_come_back)
    assert not failed(asked)


def test_a_node_is_taken_out_of_the_list_and_added_again_and_no_request_fails(farm: Cluster) -> None:
    first, last = farm.nodes[0], farm.nodes[2]
    before = [node.run(["pgrep", "-o", "-x", "apache2"]).stdout for node in farm.nodes[:2]]

    def without_and_with() -> None:
        farm.safekit(first, "module", "stop", "web", "--on", last.name)
        lab_cluster.change_file(farm, first, lambda text: f"nodes: [node1, node2]\n{text}")
        lab_cluster.change_file(farm, first, lambda text: text.partition("\n")[2])
        farm.safekit(first, "module", "start", "web", "--on", last.name)
        complete(farm)

    asked = during(farm, without_and_with)
    assert not failed(asked)
    assert [node.run(["pgrep", "-o", "-x", "apache2"]).stdout for node in farm.nodes[:2]] == before
    assert last.name in {request.server for request in asked[-len(CLIENTS) * 3 :]}


def test_a_frozen_daemon_ends_its_nodes_service_by_itself_before_the_others_take_over(farm: Cluster) -> None:
    frozen = next(node for node in farm.nodes if node is not director(farm))
    pid = frozen.run(["cat", "/run/safekit/safekitd.lock"]).stdout.strip()
    survivors = [node for node in farm.nodes if node is not frozen]

    def freeze() -> None:
        frozen.run(["kill", "-STOP", pid])
        farm.wait(lambda: survivors_hold_all(farm, survivors), "the others serve its clients")

    asked = during(farm, freeze)
    frozen.run(["kill", "-CONT", pid])
    first = at_start(asked)
    assert not failed(asked, {client for client, server in first.items() if server != frozen.name})
    last = {request.client: request.server for request in asked}
    assert frozen.name not in last.values()
    assert "" not in last.values()
    farm.wait(lambda: farm.shares_are_complete() and has_a_part(farm, frozen), "it has its part again")


def has_a_part(farm: Cluster, node: Node) -> bool:
    return int(farm.farm(node).get("held", 0)) > 0


def survivors_hold_all(farm: Cluster, survivors: Sequence[Node]) -> bool:
    return sum(int(farm.farm(node).get("held", 0)) for node in survivors) == 256


def test_connections_stay_on_a_node_that_is_drained_until_they_end(farm: Cluster) -> None:
    node = farm.nodes[1]
    held = farm.lab.client().start(["python3", "-c", HOLD, VIP, *CLIENTS])
    try:
        farm.wait(lambda: "open" in held.output, "connections are open")
        done = farm.safekit(farm.nodes[0], "farm", "drain", node.name, "--timeout", "1", ok=False)
        assert done.returncode == 4, done.stdout
        assert "still has connections after 1 s (web:" in done.stderr
        asked = during(farm, lambda: None)
        assert node.name not in {request.server for request in asked}
        assert not failed(asked)
        held.kill(signal.SIGTERM)
        farm.wait(lambda: "answered" in held.output, "all of them are answered")
        served = set(held.output.split("answered", 1)[1].split())
        assert served == {"node1", "node2", "node3"}
    finally:
        held.kill()
    farm.safekit(farm.nodes[0], "farm", "drain", node.name, "--timeout", "20")
    line = next(line for line in show(farm, "--over", "0.1")["nodes"] if line["node"] == node.name)
    assert (line["weight"], line["buckets"], line["connections"]) == (0, 0, 0)
    farm.safekit(farm.nodes[0], "farm", "undrain", node.name)
    complete(farm)


HOLD = """import signal, socket, sys
held = [socket.create_connection((sys.argv[1], 80), 5, (client, 0)) for client in sys.argv[2:]]
for connection in held:
    connection.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n")
print("open", flush=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
signal.sigwait([signal.SIGTERM])
names = []
for connection in held:
    try:
        connection.sendall(b"Connection: close\\r\\n\\r\\n")
        names.append(connection.makefile().read().split()[-1])
    except (OSError, IndexError) as error:
        names.append(type(error).__name__)
print("answered", *names, flush=True)
"""


def test_a_node_that_is_cut_off_and_comes_back_takes_its_part_again(farm: Cluster) -> None:
    cut = farm.nodes[2]

    def partition() -> None:
        cut.cut()
        farm.wait(lambda: survivors_hold_all(farm, farm.nodes[:2]), "the others serve its clients")
        cut.heal()
        complete(farm)

    asked = during(farm, partition, after_s=2.0)
    last = {request.client: request.server for request in asked}
    assert "" not in last.values()
    assert not failed(during(farm, lambda: None))


def test_mistakes_are_told_with_their_place_and_nothing_changes(farm: Cluster) -> None:
    first = farm.nodes[0]
    path = "/etc/safekit/modules/web/module.yaml"
    good = first.run(["cat", path]).stdout
    epoch = farm.farm(first)["epoch"]
    try:
        changes: tuple[tuple[Callable[[str], str], str], ...] = (
            (lambda text: text + "\nweights: {node1: 200, node7: 100}\n", "'node7' is no node of this module"),
            (
                lambda text: text.replace("rules: [{", "rules: [{port: 80}, {"),
                "rules 1 and 2 both are for tcp port 80",
            ),
        )
        for change, said in changes:
            with pytest.raises(FailedError) as told:
                lab_cluster.change_file(farm, first, change)
            assert said in str(told.value)
            assert "module.yaml:" in str(told.value)
        farm.write(first, path, good.replace("[10.77.0.100]", "[10.99.0.100]"))
        planned = farm.safekit(first, "plan", "web", ok=False)
        assert "no interface has an address in the network of 10.99.0.100" in planned.stdout
    finally:
        farm.write(first, path, good)
    assert farm.farm(first)["epoch"] == epoch
    for words, said in (
        (("farm", "show", "nothing"), "no node has a module 'nothing'"),
        (("farm", "drain", "node9"), "there is no node 'node9'"),
        (("farm", "show", "web", "--client", "somewhere"), "'somewhere' is not an address"),
    ):
        done = farm.safekit(first, *words, ok=False)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_a_stopped_module_leaves_no_rule_and_no_address(farm: Cluster) -> None:
    """The last test of this file: it leaves the farm stopped."""
    farm.safekit(farm.nodes[0], "module", "stop", "web", "--all")
    for node in farm.nodes:
        assert node.run(["nft", "list", "ruleset"]).stdout == ""
        assert VIP not in node.run(["ip", "address"]).stdout
