import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from safekit_lab import CommandError, Lab, LabError
from safekit_lab.freezer import processes

pytestmark = pytest.mark.system


def test_a_node_has_a_name_of_its_own_and_knows_the_others(lab: Lab) -> None:
    node = lab.node("node1")
    assert node.run(["hostname"]).stdout == "node1\n"
    assert "10.77.1.2 node2.net1" in node.run(["cat", "/etc/hosts"]).stdout


def test_a_node_sees_only_its_own_processes(lab: Lab) -> None:
    pids = lab.node("node1").run(["ps", "-e", "-o", "pid="]).stdout.split()
    assert "1" in pids and len(pids) < 10


@pytest.mark.parametrize("network", [0, 1])
@pytest.mark.parametrize("family", [4, 6])
def test_every_machine_reaches_every_other_at_once(lab: Lab, network: int, family: int) -> None:
    address = lab.node("node2").address(network, 4 if family == 4 else 6)
    for machine in (lab.node("node1"), lab.client()):
        machine.run(["ping", "-c1", "-W2", address])


def test_nothing_routes_out_of_a_node(lab: Lab) -> None:
    assert lab.node("node1").run(["ip", "-4", "route", "show", "default"]).stdout == ""
    assert lab.node("node1").run(["ping", "-c1", "-W1", "192.0.2.1"], check=False).returncode != 0


def test_what_a_node_writes_is_seen_by_no_other_and_not_by_the_host(lab: Lab) -> None:
    lab.node("node1").run(["tee", "/etc/only-here"], stdin="mine")
    assert lab.node("node1").run(["cat", "/etc/only-here"]).stdout == "mine"
    assert lab.node("node2").run(["test", "-e", "/etc/only-here"], check=False).returncode == 1
    assert not Path("/etc/only-here").exists()


def test_the_callers_python_and_its_packages_run_in_a_node(lab: Lab) -> None:
    code = "import os, safekit_lab; print(os.uname().nodename)"
    assert lab.node("node2").run([sys.executable, "-c", code]).stdout == "node2\n"


def test_the_devices_of_a_node_are_usable(lab: Lab) -> None:
    lab.node("node1").run(["dd", "if=/dev/urandom", "of=/dev/null", "bs=1k", "count=1"])
    lab.node("node1").run(["python3", "-c", "import pty; pty.openpty()"])
    lab.node("node1").run(["ip", "tuntap", "add", "tap7", "mode", "tap"])
    lab.node("node1").run(["ip", "link", "del", "tap7"])


def test_a_node_cannot_set_the_hosts_clock(lab: Lab) -> None:
    assert lab.node("node1").run(["date", "-s", "2001-01-01"], check=False).returncode == 1


def test_a_failed_command_says_what_it_said(lab: Lab) -> None:
    with pytest.raises(CommandError, match="exit code 3: oops") as caught:
        lab.node("node1").run(["sh", "-c", "echo oops >&2; exit 3"])
    assert caught.value.returncode == 3


def test_a_daemon_left_behind_does_not_hold_up_the_command_that_started_it(lab: Lab) -> None:
    assert lab.node("node1").run(["sh", "-c", "sleep 600 & echo done"], timeout_s=30).stdout == "done\n"


def test_a_command_that_takes_too_long_is_killed_with_its_children(
    lab: Lab, eventually: Callable[[Callable[[], object]], None]
) -> None:
    with pytest.raises(LabError, match="has not ended after"):
        lab.node("node2").run(["sh", "-c", "sleep 601 & sleep 601"], timeout_s=0.2)
    eventually(lambda: "sleep" not in lab.node("node2").run(["ps", "-e", "-o", "comm="]).stdout)


def test_a_background_process_has_output_numbers_and_an_exit_code(
    lab: Lab, eventually: Callable[[Callable[[], object]], None]
) -> None:
    process = lab.node("node1").start(["sh", "-c", "echo hello; read forever </dev/zero; sleep 600"])
    eventually(lambda: process.output == "hello\n")
    assert process.returncode is None
    seen = lab.node("node1").run(["ps", "-o", "comm=", "-p", str(process.node_pid)]).stdout
    assert seen == "sh\n"
    process.kill()
    assert process.wait(timeout_s=10) == -9


def test_orphans_are_collected_by_the_nodes_init(lab: Lab, eventually: Callable[[Callable[[], object]], None]) -> None:
    node = lab.node("node2")
    node.run(["setsid", "--fork", "sh", "-c", "true"])
    eventually(lambda: "Z" not in node.run(["ps", "-e", "-o", "stat="]).stdout.replace("Zl", "Z"))
    assert next(processes(node.status().pid or 0)) == node.status().pid


def test_a_command_that_is_not_there_is_the_usual_error(lab: Lab) -> None:
    with pytest.raises(FileNotFoundError):
        lab.node("node1").run(["no-such-command"])


def test_a_real_daemon_of_the_host_runs_in_a_node(lab: Lab, eventually: Callable[[Callable[[], object]], None]) -> None:
    server = lab.node("node1").start([shutil.which("python3") or "", "-m", "http.server", "8080"])
    eventually(lambda: lab.client().run(["curl", "-sf", "http://node1:8080/"], check=False).returncode == 0)
    server.kill()
    server.wait(timeout_s=10)
