"""Drills on real nodes: what the client saw is in a signed report, and whatever ends a drill leaves nothing behind."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import lab_cluster
import power_switch
import pytest
from lab_cluster import SAFEKIT, VIP, Cluster, Witness

from safekit_lab.node import Node
from safekit_lab.process import Process

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
ASKED = ("rehearse", "web", "--probe", f"http://{VIP}/", "--yes", "--out", "/srv")
AGAIN = ("--accept", "lost-and-back", "--accept", "daemon-alarm", "--accept", "loss-time-short")
"""Findings that an earlier drill leaves."""


def with_witness(made: Cluster) -> None:
    witness = Witness(made, made.lab.client("client2"))
    witness.set_up()
    settings = f'\nwitness:\n  lease: {{token: "file:{witness.TOKEN}", lease: 4s}}\n'
    lab_cluster.add_apache_mirror(made, change=lambda text: text + settings)


@pytest.fixture(scope="module")
def made() -> Iterator[Cluster]:
    with lab_cluster.cluster(2, clients=2, networks=2) as cluster:
        with_witness(cluster)
        yield cluster


def rehearse(made: Cluster, node: Node, *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """The report, and where it is on the node."""
    done = made.safekit(node, *ASKED, *words, ok=False, timeout_s=300.0)
    assert done.returncode == code, done.stdout + done.stderr
    path = next(word for word in done.stdout.split() if word.endswith(".json"))
    return json.loads(node.run(["cat", path]).stdout)["report"], path


def is_clean(node: Node) -> bool:
    """No guard, no rule, no room taken."""
    full = "100%" in node.run(["df", "/var/lib"]).stdout
    return not full and "rehearse" not in node.run(["sh", "-c", "ps axww; nft list ruleset"]).stdout


def test_a_swap_and_a_killed_application_are_measured_and_reported_with_a_signature(made: Cluster) -> None:
    primary, secondary = made.roles()
    report, path = rehearse(made, secondary, "--drills", "swap,kill-app")
    swap, kill = report["outcomes"]
    assert (swap["drill"], swap["node"], kill["drill"], kill["node"]) == (
        "swap",
        primary.name,
        "kill-app",
        secondary.name,
    )
    assert all(one["well"] and one["undone"] and not one["trouble"] for one in (swap, kill))
    assert swap["after"] == {primary.name: "SECOND/Ready", secondary.name: "PRIM/Ready"}
    assert any("SIGKILL" in line["text"] for line in kill["decisions"])
    for file in (path, path.replace(".json", ".html")):
        assert f"is as {secondary.name} signed it, passed" in made.safekit(secondary, "rehearse", "verify", file).stdout
    secondary.run(["sed", "-i", 's/"failed": 0/"failed": 1/; s/"by": "root/"by": "eve/', path])
    assert "was changed" in made.safekit(secondary, "rehearse", "verify", path, ok=False).stderr
    assert is_clean(primary)
    assert is_clean(secondary)


@pytest.mark.long
@pytest.mark.parametrize("drill", ["partition", "isolate", "freeze", "kill-daemon", "disk-full"])
def test_each_drill_ends_with_a_cluster_that_is_well(made: Cluster, drill: str) -> None:
    primary, secondary = made.roles()
    report, _ = rehearse(made, secondary, "--drills", drill, "--seconds", "12", "--path", "/var/lib", *AGAIN)
    (outcome,) = report["outcomes"]
    assert outcome["well"]
    assert outcome["undone"]
    takes_over = drill in {"isolate", "freeze", "kill-daemon"}
    assert (outcome["interruption_ms"] > 0) is takes_over
    assert outcome["after"][secondary.name] == ("PRIM/Ready" if takes_over else "SECOND/Ready")
    made.wait(lambda: is_clean(primary), "nothing is left")


@pytest.mark.long
def test_a_power_cut_is_asked_for_and_measured(made: Cluster) -> None:
    primary, secondary = made.roles()
    command = secondary.start([SAFEKIT, *ASKED, "--drills", "power-off", *AGAIN])
    made.wait(lambda: f"CUT THE POWER of {primary.name}" in command.output, "it asks for it", 60.0)
    primary.crash()
    made.wait(lambda: "GIVE ITS POWER BACK" in command.output, "it sees it", 60.0)
    made.wait_state(secondary, "web", "ALONE/Ready")
    made.boot(primary)
    command.wait(120.0)
    assert command.returncode == 0, command.output
    assert f"power-off on {primary.name}: not served for" in command.output


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_fence_device_cuts_a_node_that_hangs_and_only_the_one_that_was_named() -> None:
    with power_switch.power_switch() as switch, lab_cluster.cluster(2, binds=[switch.bind]) as made:
        power_switch.connect(switch, made.lab)
        step = f"pipeline:\n  - {power_switch.STEP}\n"
        lab_cluster.add_apache_mirror(made, change=lambda text: text.replace("pipeline:\n", step))
        primary, secondary = made.roles()
        fence = ("--drills", "fence", *AGAIN)
        assert "--cut NODE" in made.safekit(secondary, *ASKED, *fence, ok=False).stderr
        said = made.safekit(secondary, *ASKED, *fence, "--cut", secondary.name, ok=False).stdout
        assert f"NOT PASSED the power of {primary.name} would be cut" in said
        assert switch.calls_for("off") == []
        command = secondary.start([SAFEKIT, *ASKED, *fence, "--cut", primary.name])
        made.wait(lambda: "GIVE ITS POWER BACK" in command.output, "its power is cut", 120.0)
        assert [(call.node, call.answer) for call in switch.calls_for("off")] == [(primary.name, "done")]
        assert primary.state == "crashed"
        made.wait_state(secondary, "web", "ALONE/Ready")
        made.boot(primary)
        command.wait(120.0)
        assert command.returncode == 0, command.output
        assert f"{primary.name} is fenced" in command.output


def begin(made: Cluster, drill: str, seconds: str) -> tuple[Process, Node]:
    """A drill that is under way, and the node that it harms."""
    primary, secondary = made.roles()
    words = ("--drills", drill, "--path", "/var/lib", "--seconds", seconds, *AGAIN)
    command = secondary.start([SAFEKIT, *ASKED, *words])

    def harmed() -> bool:
        if drill == "disk-full":
            return "100%" in primary.run(["df", "/var/lib"]).stdout
        return "expires" in primary.run(["nft", "list", "ruleset"]).stdout

    made.wait(harmed, f"{drill} is under way", 60.0)
    return command, primary


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "the terminal ended"])
def test_who_ends_the_command_undoes_the_drill_at_once(made: Cluster, number: signal.Signals) -> None:
    command, harmed = begin(made, "disk-full", "110")
    command.kill(number)
    command.wait(60.0)
    assert is_clean(harmed)
    assert f"{harmed.name}: undone" in command.output
    assert "NOT PASSED the operator ended it" in command.output


@pytest.mark.long
@pytest.mark.parametrize("drill", ["disk-full", "partition"])
def test_a_command_that_was_killed_leaves_a_guard_that_undoes_the_drill(made: Cluster, drill: str) -> None:
    command, harmed = begin(made, drill, "10")
    command.kill(signal.SIGKILL)
    command.wait(10.0)
    made.wait(lambda: is_clean(harmed), "its guard undoes it", 30.0)


@pytest.mark.long
def test_a_guard_that_was_killed_leaves_nothing(made: Cluster) -> None:
    command, harmed = begin(made, "partition", "110")
    harmed.run(["kill", "-9", harmed.run(["cat", "/run/safekit/rehearse.lock"]).stdout.strip()])
    made.wait(lambda: is_clean(harmed), "its backstop and the kernel undo it", 20.0)
    command.kill(signal.SIGTERM)
    command.wait(60.0)


@pytest.mark.long
def test_a_cluster_that_would_not_survive_is_not_drilled(made: Cluster) -> None:
    primary, secondary = made.roles()
    made.safekit(secondary, "module", "failover", "web", "off")
    done = made.safekit(secondary, *ASKED, ok=False)
    made.safekit(secondary, "module", "failover", "web", "on")
    assert done.returncode == 6
    assert "failover-off" in done.stderr
    assert (
        "would cut off or end what watches it"
        in made.safekit(primary, *ASKED, "--drills", "isolate", *AGAIN, ok=False).stdout
    )
