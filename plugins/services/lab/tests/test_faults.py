import time
from collections.abc import Callable

import pytest

from safekit_lab import Lab, LabError, Node, freezer, inside
from safekit_lab.inside import Command

pytestmark = pytest.mark.system
Eventually = Callable[[Callable[[], object]], None]


def reaches(source: Node, address: str) -> bool:
    """One answer of three is enough: after a cut the first may be lost to an address resolution under way."""
    return source.run(["ping", "-c3", "-i0.3", "-W1", address], check=False).returncode == 0


def ticking(node: Node, eventually: Eventually) -> Callable[[], int]:
    """Start a process that writes without end; return how to ask how much it has written."""
    process = node.start(["python3", "-uc", "import time\nwhile True: print(1); time.sleep(0.001)"])
    eventually(lambda: process.stdout.stat().st_size > 0)
    return lambda: process.stdout.stat().st_size


def test_a_crash_ends_everything_in_the_node_and_a_boot_finds_its_disk_as_it_was(lab: Lab) -> None:
    node = lab.node("node1")
    daemon = node.start(["sleep", "600"])
    node.run(["sh", "-c", "echo kept > /var/kept; echo lost > /run/lost; echo lost > /tmp/lost"])
    node.crash()
    assert daemon.wait(timeout_s=10) == -9
    assert node.state == "crashed"
    assert not reaches(lab.node("node2"), node.address())
    node.boot()
    assert node.run(["cat", "/var/kept"]).stdout == "kept\n"
    assert node.run(["ls", "/run/lost", "/tmp/lost"], check=False).stdout == ""
    assert reaches(lab.node("node2"), node.address())


def test_a_crashed_node_says_so_and_what_to_do(lab: Lab) -> None:
    node = lab.node("node1")
    node.crash()
    with pytest.raises(LabError, match="lab start node1"):
        node.run(["true"])
    with pytest.raises(LabError, match="lab start node1"):
        node.freeze()
    node.boot()
    with pytest.raises(LabError, match="already running"):
        node.boot()


def test_a_node_that_ends_on_its_own_is_known_to_be_crashed(lab: Lab, eventually: Eventually) -> None:
    node = lab.node("node2")
    node.start(["python3", "-c", "import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)"])
    eventually(lambda: node.state == "crashed")
    node.boot()
    assert node.run(["hostname"]).stdout == "node2\n"


def test_in_a_frozen_node_nothing_runs_while_its_kernel_still_answers(lab: Lab, eventually: Eventually) -> None:
    node = lab.node("node1")
    ticks = ticking(node, eventually)
    node.freeze()
    before = ticks()
    assert node.state == "frozen"
    assert reaches(lab.node("node2"), node.address())
    assert ticks() == before
    with pytest.raises(LabError, match="frozen"):
        node.run(["true"])
    node.thaw()
    eventually(lambda: ticks() > before)


def test_a_deep_frozen_node_does_not_answer_and_a_thaw_brings_it_back(lab: Lab) -> None:
    node = lab.node("node1")
    node.freeze(deep=True)
    assert not reaches(lab.node("node2"), node.address())
    assert not reaches(lab.node("node2"), node.address(network=1, family=6))
    node.thaw()
    assert reaches(lab.node("node2"), node.address())


def test_a_dead_process_that_nobody_collects_does_not_keep_its_node_from_rebooting(lab: Lab) -> None:
    node = lab.node("node1")
    neglected = inside.start(lab.folder, "node1", Command(["sleep", "600"]))
    node.crash()
    node.boot()
    assert node.run(["hostname"]).stdout == "node1\n"
    assert neglected.wait(10) == -9


def test_a_frozen_node_can_crash(lab: Lab) -> None:
    node = lab.node("node1")
    node.freeze(deep=True)
    node.crash()
    node.boot()
    assert reaches(lab.node("node2"), node.address())


def test_without_cgroups_a_freeze_stops_every_process_by_signal(lab: Lab, eventually: Eventually) -> None:
    node = lab.node("node2")
    ticks = ticking(node, eventually)
    init = node.status().pid or 0
    freezer.freeze(init, None)
    before = ticks()
    assert reaches(lab.node("node1"), node.address())
    assert ticks() == before
    freezer.thaw(init, None)
    eventually(lambda: ticks() > before)


def test_a_cut_of_one_network_leaves_the_other(lab: Lab) -> None:
    one, two = lab.nodes
    one.cut(network=0)
    assert not reaches(two, one.address(network=0))
    assert not reaches(two, one.address(network=0, family=6))
    assert reaches(two, one.address(network=1))
    one.heal(network=0)
    assert reaches(two, one.address(network=0))


def test_a_cut_drops_arp_as_well(lab: Lab) -> None:
    one, two = lab.nodes
    one.cut(network=0, to=two)
    two.run(["ip", "neigh", "flush", "all"])
    assert not reaches(two, one.address())
    assert two.run(["ip", "-4", "neigh", "show", "to", one.address(), "nud", "reachable"]).stdout == ""
    one.heal()


def test_a_cut_between_two_nodes_is_not_seen_by_a_third(lab: Lab) -> None:
    one, two = lab.nodes
    one.cut(to=two)
    assert not reaches(two, one.address())
    assert reaches(lab.client(), one.address())
    one.heal()


def test_a_cut_in_one_direction_lets_the_other_through(lab: Lab) -> None:
    one, two = lab.nodes
    two.cut(to=one, direction="in")
    assert not reaches(one, two.address())
    two.run(["ip", "neigh", "replace", one.address(), "lladdr", "02:5a:00:00:00:01", "dev", "eth0"])
    listener = one.start(["python3", "-uc", "import socket\ns=socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                          "s.bind(('', 9))\nprint('bound')\nprint(s.recv(9))"])  # fmt: skip
    deadline = time.monotonic() + 20
    send = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{one.address()}', 9))"
    while listener.returncode is None and time.monotonic() < deadline:
        two.run(["python3", "-c", send])
    assert listener.output == "bound\nb'x'\n"
    two.run(["ip", "neigh", "flush", "all"])
    two.heal()


def test_a_loss_takes_some_packets_and_not_all(lab: Lab) -> None:
    one, two = lab.nodes
    two.run(["ping", "-c1", one.address()])
    one.loss(50, direction="in")
    said = two.run(["ping", "-q", "-i", "0.002", "-c", "300", "-W1", one.address()], check=False).stdout
    received = int(said.split(" received")[0].split()[-1])
    assert 50 < received < 250
    one.heal()
    assert reaches(two, one.address())


def test_a_full_disk_is_that_nodes_alone_and_can_be_freed(lab: Lab) -> None:
    one, two = lab.nodes
    write = ["dd", "if=/dev/zero", "of=/var/big", "bs=64k", "count=4"]
    one.fill_disk()
    with pytest.raises(LabError, match="No space left"):
        one.run(write)
    two.run(write)
    one.free_disk()
    one.run(write)


def test_a_full_disk_is_still_full_after_a_crash(lab: Lab) -> None:
    node = lab.node("node2")
    node.fill_disk()
    node.crash()
    node.boot()
    with pytest.raises(LabError, match="No space left"):
        node.run(["dd", "if=/dev/zero", "of=/var/more", "bs=64k", "count=4"])
    node.free_disk()


def test_a_clock_step_reaches_programs_that_already_run_once_the_first_was_made(
    lab: Lab, eventually: Eventually
) -> None:
    one, two = lab.nodes
    one.step_clock(3600)
    watch = one.start(["python3", "-uc", "import time\nwhile True: print(time.time()); time.sleep(0.01)"])
    eventually(lambda: watch.output)
    assert float(watch.output.split()[0]) > time.time() + 3000
    one.step_clock(-7200)
    eventually(lambda: float(watch.output.split()[-1]) < time.time() - 3000)
    assert abs(float(two.run(["date", "+%s"]).stdout) - time.time()) < 1000
    watch.kill()
    one.step_clock(3600)


def test_a_fault_of_a_network_that_is_not_there_is_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="no network 7"):
        lab.node("node1").cut(network=7)
    with pytest.raises(LabError, match="no node 'node9'"):
        lab.node("node1").cut(to="node9")
