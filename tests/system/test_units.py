"""The units under a real systemd, as the Debian package brings them: readiness, watchdog, what they leave, reboot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import lab_cluster
import ledger
import packaging_lab
import pytest
import systemd_lab
from lab_cluster import VIP, Cluster
from packaging_lab import Wheels
from systemd_lab import DATA, Machine

from safekit_lab import Bind, Lab

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]
APPS = ("safekit-apache", "safekit-resource-rfs", "safekit-resource-service")
SERVICES = ("safekit-console", "safekit-metrics", "safekit-notify", "safekit-witness")
PLACE = Path("/srv/package")
MODULE = f"""\
kind: mirror
heartbeat: {{interval: 100ms, lost_after: 3s}}
pipeline:
  - rfs: {{directory: {DATA}}}
  - vip: {{address: {VIP}/24}}
  - apache: {{}}
"""
DROP_IN = "/run/systemd/system/safekitd.service.d/test.conf"
NOTIFY = "destinations: [{name: nobody, url: 'json://127.0.0.1:9/'}]\n"


class Pair(Cluster):
    """Two machines that systemd boots, with the package installed, and a module of Apache and replicated files."""

    def __init__(self, lab: Lab, machines: tuple[Machine, Machine], package: str) -> None:
        super().__init__(lab)
        self.nodes = self.machines = machines
        self.package = package

    def set_up(self) -> None:
        """As docs/how-to/install.md says."""
        first, second = self.machines
        for machine in self.machines:
            machine.boot()
            self.install(machine)
        self.safekit(first, "cluster", "init", "--node", first.name, "--address", first.address())
        first.run(["systemctl", "enable", "--now", "safekitd"])
        token = self.safekit(first, "cluster", "token").stdout
        words = ("cluster", "join", "-", "--node", second.name, "--address", second.address())
        self.safekit(second, *words, stdin=token)
        second.run(["systemctl", "enable", "--now", "safekitd"])
        self.wait(self.all_hear_each_other, "the nodes hear each other")
        lab_cluster.home_pages(self)
        lab_cluster.add_replicated_mirror(self, MODULE)

    def install(self, machine: Machine) -> None:
        machine.run(["dpkg", "--install", self.package], timeout_s=180.0)

    def parts(self) -> tuple[Machine, Machine]:
        """The primary and the secondary."""
        primary, secondary = self.roles()
        assert isinstance(primary, Machine)
        assert isinstance(secondary, Machine)
        return primary, secondary

    def answer(self) -> str:
        """Whose Apache a client hears, or nothing."""
        words = ["curl", "--silent", "--max-time", "2", f"http://{VIP}/"]
        return self.lab.client().run(words, check=False).stdout.strip()

    def rules(self, machine: Machine) -> list[tuple[str, str]]:
        """The rule and the words of each decision of a node, the newest last."""
        entries = json.loads(self.safekit(machine, "log", "-n", "200", "-o", "json").stdout)
        bodies = [json.loads(entry["body"]) for entry in entries if entry["kind"] == "decision"]
        return [(body["rule"], body["decision"]) for body in bodies]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A test leaves both machines up and the module well, unless it is the last one."""
    wheels = Wheels(tmp_path_factory.mktemp("wheels"))
    needed = sorted({name for one in (*APPS, *SERVICES) for name in packaging_lab.needs(one)})
    wheels.build(packaging_lab.package(name).path for name in needed)
    wheels.download(*needed)
    with (
        packaging_lab.visible() as place,
        ledger.disks() as disks,
        pytest.MonkeyPatch.context() as patch,
    ):
        package = packaging_lab.debian_package(wheels, place)
        patch.setattr(lab_cluster, "SAFEKIT", "/usr/bin/safekit")
        with systemd_lab.machines(disks, Bind(source=place, target=PLACE)) as (lab, machines):
            found = Pair(lab, machines, str(PLACE / package.name))
            found.set_up()
            yield found


def main_pid(machine: Machine, unit: str = "safekitd") -> str:
    return machine.shown(unit, "MainPID")


def apaches(machine: Machine) -> list[str]:
    return machine.run(["pgrep", "-x", "apache2"], check=False).stdout.split()


def test_systemd_hears_when_it_serves_and_what(pair: Pair) -> None:
    for machine in pair.parts():
        assert machine.shown("safekitd", "ActiveState") == "active"
        assert machine.shown("safekitd", "StatusText") == f"node {machine.name}, modules: web"
        assert machine.run(["systemctl", "is-system-running"]).stdout.strip() == "running"


def test_what_the_unit_takes_away_no_module_needs(pair: Pair) -> None:
    primary, _ = pair.parts()
    assert pair.answer() == primary.name
    seen = primary.run(["findmnt", "--noheadings", "--output", "FSTYPE", DATA]).stdout.split()
    assert seen[-1] == "fuse.safekit-rfs"
    unit = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--property=DynamicUser=yes"]
    primary.run(["sh", "-c", f"echo replicated >{DATA}/file"])
    assert primary.run([*unit, "cat", f"{DATA}/file"]).stdout == "replicated\n", "every unit sees the mount"


def test_a_restart_of_the_secondarys_daemon_is_ready_when_systemd_says_so_and_touches_no_service(pair: Pair) -> None:
    primary, secondary = pair.parts()
    before = apaches(primary), main_pid(primary)
    secondary.run(["systemctl", "restart", "safekitd"], timeout_s=120.0)
    pair.safekit(secondary, "daemon", "status")
    assert pair.parts() == (primary, secondary)
    assert (apaches(primary), main_pid(primary)) == before
    assert pair.answer() == primary.name


def test_a_restart_of_the_primarys_daemon_is_a_swap(pair: Pair) -> None:
    primary, secondary = pair.parts()
    primary.run(["systemctl", "restart", "safekitd"], timeout_s=120.0)
    assert pair.parts() == (secondary, primary)
    assert pair.answer() == secondary.name


@contextmanager
def quick_watchdog(pair: Pair, machine: Machine) -> Iterator[None]:
    """Of 5 s instead of a minute."""
    pair.write(machine, DROP_IN, "[Service]\nWatchdogSec=5\n")
    restarted(machine)
    yield
    machine.run(["rm", "-r", str(Path(DROP_IN).parent)])
    restarted(machine)


def restarted(machine: Machine) -> None:
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "restart", "safekitd"], timeout_s=120.0)


@pytest.mark.parametrize(("signal", "why"), [("STOP", "watchdog"), ("KILL", "signal")])
def test_a_daemon_that_stands_still_or_dies_is_started_again(pair: Pair, signal: str, why: str) -> None:
    _, machine = pair.parts()
    with quick_watchdog(pair, machine):
        pair.parts()
        pair.swap(machine)
        primary, other = pair.parts()
        assert primary is machine
        before = main_pid(machine)
        machine.run(["kill", f"-{signal}", before])
        pair.wait(lambda: main_pid(machine) not in ("0", before), "another daemon is started", 60.0)
        pair.wait(lambda: machine.shown("safekitd", "ActiveState") == "active", "it serves", 60.0)
        said = machine.run(["journalctl", "--unit=safekitd", "--output=cat", "--lines=200"]).stdout
        assert f"Failed with result '{why}'" in said
        assert pair.parts() == (other, machine)
        assert pair.answer() == other.name
        assert apaches(machine) == []


@pytest.mark.parametrize("how", ["reboot", "poweroff"])
def test_a_primary_that_goes_down_hands_over_first(pair: Pair, how: Literal["reboot", "poweroff"]) -> None:
    primary, secondary = pair.parts()
    primary.run(["sh", "-c", f"echo {how} >{DATA}/last"])
    before = len(pair.rules(secondary))
    primary.ends(how)
    pair.wait_state(secondary, "web", "ALONE/Ready")
    assert pair.answer() == secondary.name
    assert secondary.run(["cat", f"{DATA}/last"]).stdout == f"{how}\n"
    decided = pair.rules(secondary)[before:]
    taken = next(words for rule, words in decided if rule == "takeover")
    assert f"{primary.name} is STOP: stopped: the daemon of this node ends" in taken
    lost = [number for number, (rule, _) in enumerate(decided) if rule == "peer-lost"]
    assert all(number > [rule for rule, _ in decided].index("takeover") for number in lost)
    primary.boot()
    assert pair.parts() == (secondary, primary), "it is enabled: it comes back by itself"
    pair.wait(lambda: "web" in primary.shown("safekitd", "StatusText"), "and shows what it runs")


def serves(machine: Machine, port: int) -> bool:
    return machine.run(["ss", "-Hltn", f"sport = :{port}"]).stdout != ""


def test_the_units_beside_it_serve_as_users_without_rights(pair: Pair) -> None:
    machine, _ = pair.parts()
    machine.run(["safekit-witness", "init", "--address", machine.address()])
    pair.safekit(machine, "notify", "setup")
    pair.write(machine, "/etc/safekit/notify.yaml", NOTIFY, mode="0640")
    machine.run(["systemctl", "enable", "--now", *SERVICES])
    for port in (9453, 9454, 4810):
        pair.wait(lambda port=port: serves(machine, port), f"port {port} is served")  # type: ignore[misc]
    metrics = machine.run(["curl", "--silent", "http://127.0.0.1:9454/metrics"]).stdout
    assert 'module="web"' in metrics
    assert machine.run(["curl", "--silent", "--insecure", f"https://{machine.address()}:9453/"]).returncode == 0
    assert "lab" in machine.run(["sh", "-c", "safekit-witness admit lab >/dev/null; safekit-witness show"]).stdout
    pair.wait(lambda: machine.run(["ls", "/var/lib/safekit-notify"]).stdout != "", "the notifier follows the cluster")
    for unit in SERVICES:
        assert machine.run(["ps", "-o", "user:32=", "-p", main_pid(machine, unit)]).stdout.strip() == unit
        assert machine.shown(unit, "NRestarts") == "0"


def test_the_unit_that_the_witness_prints_serves(pair: Pair) -> None:
    machine, _ = pair.parts()
    unit = "/etc/systemd/system/safekit-witness-printed.service"
    machine.run(["systemctl", "stop", "safekit-witness"])
    pair.write(machine, unit, machine.run(["safekit-witness", "unit"]).stdout)
    machine.run(["systemctl", "start", "safekit-witness-printed"])
    pair.wait(lambda: serves(machine, 4810), "the witness is served")
    assert machine.shown("safekit-witness-printed", "NRestarts") == "0"
    machine.run(["systemctl", "stop", "safekit-witness-printed"])
    machine.run(["rm", unit])
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "start", "safekit-witness"])


def test_an_upgrade_hands_over_and_starts_again_what_ran(pair: Pair) -> None:
    primary, secondary = pair.parts()
    ran = [unit for unit in ("safekitd", *SERVICES) if primary.shown(unit, "ActiveState") == "active"]
    before = [main_pid(primary, unit) for unit in ran]
    pair.install(primary)
    assert pair.parts() == (secondary, primary)
    assert [primary.shown(unit, "ActiveState") for unit in ran] == ["active"] * len(ran)
    assert not set(before) & {main_pid(primary, unit) for unit in ran}


def test_nothing_is_left_after_the_package(pair: Pair) -> None:
    """The last one: the package is gone."""
    primary, secondary = pair.parts()
    primary.run(["sh", "-c", f"echo kept >{DATA}/kept"])
    primary.run(["dpkg", "--remove", "safekit"], timeout_s=180.0)
    pair.wait(lambda: pair.answer() == secondary.name, "the other one serves")
    secondary.run(["dpkg", "--remove", "safekit"], timeout_s=180.0)
    for machine in pair.machines:
        assert machine.run(["pgrep", "-f", "safekit"], check=False).stdout == ""
        assert apaches(machine) == []
        assert VIP not in machine.run(["ip", "address"]).stdout
        assert "fuse" not in machine.run(["findmnt", "--noheadings", "--output", "FSTYPE", DATA]).stdout
        assert machine.run(["sh", "-c", "find /sys/fs/cgroup -name '*safekit*'"]).stdout == ""
        assert machine.run(["systemctl", "is-system-running"]).stdout.strip() == "running"
        machine.run(["dpkg", "--purge", "safekit"], timeout_s=180.0)
        left = machine.run(["find", "/opt", "/etc", "/usr", "/lib", "/var", "/run", "-xdev", "-iname", "*safekit*"])
        assert [path for path in left.stdout.split() if not path.startswith("/var/tmp/")] == []
        machine.ends("poweroff")
        machine.boot()
    assert primary.run(["cat", f"{DATA}/kept"]).stdout == "kept\n", "replicated directories stay"
