"""A virtual machine on two real nodes: a real guest under QEMU whose records are read from the survivor's disk.

By KVM where it serves, else emulated (TCG); `kvm_lab_accelerator.said()`, which the bench prints.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import kvm_lab
import kvm_lab_deeds
import kvm_lab_many as many
import pytest
import recorder
from kvm_lab import ADDRESS, BOOT_S, NAME, Host, Record, add, crash, is_paired, kill_qemu, swap, tell
from lab_cluster import Cluster, Witness

from safekit_lab.process import Process

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture
def lab() -> Iterator[tuple[Cluster, Host]]:
    with kvm_lab.cluster() as (made, host):
        yield made, host


def begin(made: Cluster) -> Process:
    client = made.lab.client()
    made.write(client, "/opt/client.py", recorder.CLIENT)
    asking = client.start(["python3", "/opt/client.py", ADDRESS])
    goes_on(made, 20)
    return asking


def goes_on(made: Cluster, more: int) -> None:
    known = len(recorder.acknowledged(made.lab.client()))
    made.wait(lambda: len(recorder.acknowledged(made.lab.client())) > known + more, "the guest acknowledges", BOOT_S)


def audit(made: Cluster, host: Host, asking: Process) -> None:
    """Nothing that was acknowledged is missing on either disk, both are equal, and no boot wrote between others."""
    goes_on(made, 20)
    asking.kill()
    asking.wait(10.0)
    made.safekit(made.nodes[0], "module", "stop", NAME, "--all")
    found = [kvm_lab.records(host.image(node)) for node in made.nodes]
    assert found[0] == found[1]
    assert faults(found[0], made) == []
    for node in made.nodes:
        assert kvm_lab.running(node) == []
        assert node.run(["virsh", "list", "--all", "--name"]).stdout.strip() == ""


def panic(made: Cluster, host: Host) -> None:
    tell(made.lab.client(), "panic", timeout_s=1.0)


def faults(found: list[Record], made: Cluster) -> list[str]:
    """What was acknowledged and is not there; boots of the guest that wrote after another had begun."""
    lines = [f"{record.boot} {record.number}" for record in found]
    return list(recorder.journal_faults(lines, recorder.acknowledged(made.lab.client())))


def hang(made: Cluster, host: Host) -> None:
    tell(made.lab.client(), "hang", timeout_s=1.0)


def switch_off_inside(made: Cluster, host: Host) -> None:
    tell(made.lab.client(), "off", timeout_s=1.0)


def lose_the_secondary(made: Cluster, host: Host) -> None:
    primary, secondary = made.roles(NAME)
    secondary.crash()
    made.wait_state(primary, NAME, "ALONE/Ready")
    host.power_on(made, secondary)


def freeze(made: Cluster, host: Host) -> None:
    """A frozen primary's guest wakes up when another runs elsewhere: what it then writes is acknowledged to nobody."""
    primary, survivor = made.roles(NAME)
    primary.freeze()
    made.wait(lambda: made.module_state(survivor, NAME) == "ALONE/Ready", "the other node takes over", BOOT_S)
    goes_on(made, 20)
    primary.thaw()


def swap_there_and_back(made: Cluster, host: Host) -> None:
    """It runs all the time: the same boot, which the same connection reaches."""
    before = kvm_lab.boot(made)
    for _ in range(2):
        swap(made, host)
        made.wait(lambda: is_paired(made), "both have everything again", BOOT_S)
        assert kvm_lab.boot(made) == before


def swap_by_a_boot(made: Cluster, host: Host) -> None:
    before = kvm_lab.boot(made)
    kvm_lab.set_step(made, "kvm-vm", move="0s")
    swap(made, host)
    assert kvm_lab.boot(made) != before


EVERY = [
    crash,
    kill_qemu,
    panic,
    hang,
    switch_off_inside,
    lose_the_secondary,
    freeze,
]
CUT_OFF = [kvm_lab_deeds.crash_the_receiver_of_a_resync, kvm_lab_deeds.crash_the_source_of_a_resync]
MOVES = [
    swap_there_and_back,
    swap_by_a_boot,
    kvm_lab_deeds.crash_as_it_leaves,
    kvm_lab_deeds.crash_where_it_goes,
    kvm_lab_deeds.crash_as_it_goes_on,
    kvm_lab_deeds.kill_as_it_leaves,
    kvm_lab_deeds.crash_where_it_goes_as_it_shuts_down,
]


def test_after_a_power_cut_the_survivor_has_every_record_and_goes_on(lab: tuple[Cluster, Host]) -> None:
    made, host = lab
    add(made)
    asking = begin(made)
    primary, survivor = made.roles(NAME)
    made.follow_crash(primary, survivor)
    goes_on(made, 20)
    asking.kill()
    asking.wait(10.0)
    made.safekit(survivor, "module", "stop", NAME)
    assert kvm_lab.running(survivor) == []
    assert faults(kvm_lab.records(host.image(survivor)), made) == []


@pytest.mark.long
@pytest.mark.parametrize("deed", [*EVERY, *MOVES])
def test_what_the_guest_acknowledged_is_on_the_disk_of_both_nodes(
    lab: tuple[Cluster, Host], deed: Callable[[Cluster, Host], None]
) -> None:
    made, host = lab
    add(made)
    asking = begin(made)
    deed(made, host)
    made.wait(lambda: is_paired(made), "both have everything again", BOOT_S)
    audit(made, host, asking)


@pytest.mark.long
def test_a_node_that_is_cut_off_ends_its_guest_before_the_other_one_starts_it() -> None:
    with kvm_lab.cluster(clients=2) as (made, host):
        Witness(made, made.lab.client("client2")).set_up()
        add(made, f'witness:\n  lease: {{token: "file:{Witness.TOKEN}", lease: 6s, timeout: 500ms}}\n')
        asking = begin(made)
        primary, survivor = made.roles(NAME)
        primary.cut()
        made.wait(lambda: kvm_lab.running(survivor) != [], "the other node starts it", BOOT_S)
        assert kvm_lab.running(primary) == []
        goes_on(made, 20)
        primary.heal()
        made.wait(lambda: is_paired(made), "both have everything again", BOOT_S)
        audit(made, host, asking)


@pytest.mark.long
@pytest.mark.parametrize("deed", CUT_OFF)
def test_a_resync_that_is_cut_off_goes_on_and_nobody_starts_without_what_was_acknowledged(
    lab: tuple[Cluster, Host], deed: Callable[[Cluster, Host], None]
) -> None:
    made, host = lab
    add(made, bandwidth="2M")
    asking = begin(made)
    deed(made, host)
    made.wait(lambda: is_paired(made), "both have everything again", BOOT_S)
    audit(made, host, asking)


@pytest.mark.long
def test_a_guest_whose_other_disk_is_full_goes_on_and_is_on_both_when_there_is_room() -> None:
    with kvm_lab.small_disk("24M") as small, kvm_lab.cluster(binds=[small.bind]) as (made, host):
        small.use(made.nodes[1])
        add(made)
        asking = begin(made)
        small.fill()
        made.wait(lambda: not is_paired(made), "the secondary has not everything", BOOT_S)
        goes_on(made, 20)
        small.free()
        if made.module_state(made.nodes[1], NAME).startswith("STOP"):
            made.safekit(made.nodes[1], "module", "start", NAME)
        made.wait(lambda: is_paired(made), "both have everything again", BOOT_S)
        goes_on(made, 20)
        asking.kill()
        asking.wait(10.0)
        made.safekit(made.nodes[0], "module", "stop", NAME, "--all")
        found = kvm_lab.records(host.image(made.nodes[0]))
        assert found == kvm_lab.records(small.image)
        assert faults(found, made) == []


@pytest.mark.long
def test_a_guest_that_hangs_is_found_by_its_agent_where_it_has_no_watchdog(lab: tuple[Cluster, Host]) -> None:
    made, host = lab
    add(made, watchdog="")
    asking = begin(made)
    primary, _ = made.roles(NAME)
    seen = made.looped(primary)
    made.wait(lambda: "agent answers" in made.safekit(primary, "status", "--steps").stdout, "the agent answers")
    hang(made, host)
    made.wait(lambda: made.looped(primary) > seen, "the hang is found", BOOT_S)
    audit(made, host, asking)


PLANNED = """\
kind: mirror
pipeline:
  - rfs: {directory: /srv/vm1}
  - kvm-vm: {domain: vm1, directory: /srv/vm1, needs: {type: TYPE, bridges: [br7]}}
"""


@pytest.mark.long
def test_plan_says_on_which_node_the_guest_could_not_run_before_anything_changes(lab: tuple[Cluster, Host]) -> None:
    made, _ = lab
    first, second = made.nodes
    first.run(["ip", "link", "add", "br7", "type", "bridge"])

    def planned(kind: str) -> dict[str, str]:
        made.write(first, "/srv/planned/module.yaml", PLANNED.replace("TYPE", kind))
        said = made.safekit(first, "plan", NAME, "--from", "/srv/planned", "--output", "json", ok=False).stdout
        return {node: "; ".join(answer["findings"]) for node, answer in json.loads(said).items()}

    found = planned("qemu")
    assert "kvm-vm" not in found[first.name]
    assert "there is no bridge 'br7' here" in found[second.name]
    second.run(["rm", "-f", "/dev/kvm"])
    assert "there is no virtualization here" in planned("kvm")[second.name]
    second.run(["truncate", "-s", "1M", "/srv/other.img"])
    made.write(second, "/opt/vm1.xml", kvm_lab.guest().definition(image="/srv/other.img").replace("'kvm'", "'qemu'"))
    second.run(["virsh", "create", "/opt/vm1.xml"])
    found = planned("qemu")
    assert "kvm-vm" not in found[first.name]
    assert "vm1 runs here, and not by this module" in found[second.name]
    assert made.module_state(first, NAME) == ""


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_of_a_hundred_guests_those_that_one_node_gets_at_once_boot_a_few_at_a_time(lab: tuple[Cluster, Host]) -> None:
    made, host = lab
    every = many.names(many.DEFINED)
    many.define(made, host, every)
    for number, name in enumerate(every):
        many.add(made, name, priority=number)
    assert all(many.known(made, node) == set(every) for node in made.nodes)
    chosen = every[: many.room()]
    many.start(made, chosen)
    first, survivor = made.nodes
    assert set(many.started_s(first)) == set(chosen)
    first.crash()
    made.wait(lambda: len(kvm_lab.running(survivor)) == len(chosen), "all are started", 30.0 * len(chosen))
    starts_s = sorted(many.started_s(survivor).values())
    assert all(later - at > many.BOOTING_S for at, later in zip(starts_s, starts_s[many.AT_ONCE :], strict=False))
    many.stop(made, survivor, chosen)
