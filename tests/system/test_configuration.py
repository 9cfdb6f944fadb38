"""A module's configuration on all nodes or on none, and back again."""

from __future__ import annotations

import json

import pytest
from lab_cluster import Cluster

from safekit_lab.node import Node

pytestmark = pytest.mark.system
FILE = "/etc/safekit/modules/watch/module.yaml"
LIGHT = """kind: light
checkers:
  - tcp: {name: ssh, host: 127.0.0.1, port: 22, interval: 1s, timeout: 500ms, action: none}
"""


def add(made: Cluster, content: str = LIGHT) -> None:
    first = made.nodes[0]
    made.write(first, "/srv/watch/module.yaml", content)
    made.safekit(first, "module", "add", "watch", "--from", "/srv/watch")


def edit(made: Cluster, node: Node, old: str, new: str) -> None:
    text = node.run(["cat", FILE]).stdout
    assert old in text
    made.write(node, FILE, text.replace(old, new))


def file_on(node: Node) -> str:
    return node.run(["cat", FILE], check=False).stdout


def test_a_module_is_added_on_every_node_and_changed_on_every_node(pair: Cluster) -> None:
    first, second = pair.nodes
    add(pair)
    assert file_on(second) == LIGHT
    pair.safekit(second, "module", "start", "watch", "--all")
    for node in pair.nodes:
        pair.wait_state(node, "watch", "UP/Ready")
    edit(pair, first, "interval: 1s", "interval: 2s")
    plan = pair.safekit(first, "plan", "watch", ok=False)
    assert "ssh" in plan.stdout
    assert file_on(second) == LIGHT
    pair.safekit(first, "apply", "watch")
    assert "interval: 2s" in file_on(second)
    for node in pair.nodes:
        pair.wait_state(node, "watch", "UP/Ready")


def test_a_change_that_one_node_cannot_take_is_taken_by_none(pair: Cluster) -> None:
    first, second = pair.nodes
    add(pair)
    edit(pair, first, "interval: 1s", "intervall: 1s")
    done = pair.safekit(first, "apply", "watch", ok=False)
    assert done.returncode != 0
    assert "module.yaml:3:" in done.stderr
    assert "interval" in done.stderr
    assert file_on(second) == LIGHT
    second.crash()
    pair.write(first, FILE, LIGHT.replace("port: 22", "port: 23"))
    done = pair.safekit(first, "apply", "watch", ok=False)
    assert done.returncode != 0
    assert second.name in done.stderr
    second.boot()
    pair.safekit(second, "daemon", "start")
    pair.wait(pair.all_hear_each_other, "both are back")
    assert file_on(second) == LIGHT


def test_a_disk_that_is_full_on_one_node_changes_nothing_anywhere(pair: Cluster) -> None:
    first, second = pair.nodes
    add(pair)
    second.fill_disk()
    edit(pair, first, "port: 22", "port: 23")
    done = pair.safekit(first, "apply", "watch", ok=False)
    assert done.returncode != 0
    assert "space" in done.stderr
    second.free_disk()
    assert file_on(second) == LIGHT
    pair.safekit(first, "apply", "watch")
    assert "port: 23" in file_on(second)


def test_earlier_versions_are_kept_and_restored(pair: Cluster) -> None:
    first, second = pair.nodes
    add(pair)
    edit(pair, first, "port: 22", "port: 23")
    pair.safekit(first, "apply", "watch")
    kept = json.loads(pair.safekit(second, "module", "versions", "watch", "-o", "json").stdout)
    assert len(kept) == 2
    pair.safekit(second, "module", "rollback", "watch", str(min(version["number"] for version in kept)))
    assert file_on(first) == file_on(second) == LIGHT


def test_a_module_whose_plugin_is_not_installed_names_the_package(pair: Cluster) -> None:
    first = pair.nodes[0]
    pair.write(first, "/srv/watch/module.yaml", "kind: light\npipeline:\n  - sybase: {}\n")
    done = pair.safekit(first, "module", "add", "watch", "--from", "/srv/watch", ok=False)
    assert done.returncode != 0
    assert "pip install safekit-sybase" in done.stderr
    assert "module.yaml:3:" in done.stderr
    assert pair.module_state(first, "watch") == ""
    assert file_on(pair.nodes[1]) == ""


def test_a_module_waits_for_the_one_that_it_depends_on_wherever_that_runs(pair: Cluster) -> None:
    first, second = pair.nodes
    for name, content in (("db", "kind: light\n"), ("shop", "kind: light\ndepends_on: [db]\n")):
        pair.write(first, f"/srv/{name}/module.yaml", content)
        pair.safekit(first, "module", "add", name, "--from", f"/srv/{name}")
    pair.safekit(first, "module", "start", "shop", "--no-wait")
    pair.wait_state(first, "shop", "WAIT/NotReady", "WAIT/Transient")
    pair.wait(lambda: "depends-db" in pair.safekit(first, "why", "shop").stdout, "why names what it waits for")
    pair.safekit(second, "module", "start", "db")
    pair.wait_state(first, "shop", "UP/Ready")
    pair.safekit(second, "module", "stop", "db")
    pair.wait_state(first, "shop", "WAIT/NotReady", "WAIT/Transient")


def test_values_are_set_and_shown_on_any_node(pair: Cluster) -> None:
    first, second = pair.nodes
    add(pair)
    pair.safekit(first, "module", "start", "watch", "--all")
    for node in pair.nodes:
        pair.wait_state(node, "watch", "UP/Ready")
    pair.safekit(first, "set", "watch", "custom.queue", "long", "--on", second.name)
    shown = pair.safekit(second, "get", "watch", "custom.queue").stdout
    assert "long" in shown


def test_what_does_not_fit_together_between_the_nodes_is_found_before_anything_changes(pair: Cluster) -> None:
    first, second = pair.nodes
    for number, node in enumerate(pair.nodes):
        node.run(["useradd", "--no-create-home", "--uid", str(4001 + number), "shop"])
        node.run(["mkdir", "-p", "/srv/orders"])
    first.run(["sh", "-c", "echo one > /srv/orders/1 && chown shop /srv/orders/1"])
    pair.write(first, "/srv/shop/module.yaml", "kind: mirror\npipeline:\n  - rfs: {directory: /srv/orders}\n")
    answers = json.loads(pair.safekit(first, "plan", "shop", "--from", "/srv/shop", "-o", "json", ok=False).stdout)
    found = {node: "; ".join(answer["findings"]) for node, answer in answers.items()}
    assert "files on node1 belong to the user shop, 4001 there and 4002 here" in found[second.name]
    assert "shop" not in found[first.name]
    assert pair.module_state(first, "shop") == ""
    second.run(["usermod", "--uid", "4001", "shop"])
    answers = json.loads(pair.safekit(first, "plan", "shop", "--from", "/srv/shop", "-o", "json", ok=False).stdout)
    assert "shop" not in "; ".join(answers[second.name]["findings"])
