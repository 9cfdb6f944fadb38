"""Resources of ours as OCF agents: installed, described, run, and passed by ClusterLabs' own tester.

They are found by their names, as on any machine on which their packages are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from safekit_resource_ocf.metadata import parse

from safekit_sdk.testing import Namespace, network_namespace


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the agents are, which everybody may read, as the tester asks them as another user too."""
    directory = Path(tempfile.mkdtemp(prefix="safekit-outward-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "SAFEKIT_VAR": str(place / "var"), "SAFEKIT_RUN": str(place / "run")}


def outward(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "safekit_resource_ocf.outward", *words]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


def run_tester(environment: dict[str, str], *argv: str) -> str:
    words = [*argv[:-1], "-n", f"test-{os.getpid()}", *argv[-1:]]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=115, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_agents_are_installed_and_say_what_they_are(place: Path, environment: dict[str, str]) -> None:
    done = outward(environment, "install", str(place))
    assert done.stdout.split() == [str(place / "safekit/vip"), str(place / "safekit/service")]
    shown = subprocess.run([place / "safekit/vip", "meta-data"], capture_output=True, text=True, check=True, env={})
    metadata = parse(shown.stdout)
    parameters = metadata.parameters or {}
    assert (parameters["address"].needed, parameters["probe_count"].kind) == (True, "integer")
    assert (parameters["check"].kind, parameters["check"].default) == ("boolean", "true")
    assert not {"name", "when", "action", "start_timeout"} & parameters.keys()
    assert not metadata.promotable


def test_a_service_is_started_seen_and_stopped(environment: dict[str, str]) -> None:
    environment |= {"OCF_RESKEY_command": "/bin/sleep 1000", "OCF_RESOURCE_INSTANCE": f"unit-{os.getpid()}"}
    actions = ("start", "monitor", "stop", "monitor")
    assert [outward(environment, "service", action).returncode for action in actions] == [0, 0, 0, 7]


@pytest.mark.parametrize(
    ("settings", "action", "code", "reason"),
    [
        ({}, "start", 6, "give exactly one of scripts, command, unit"),
        ({"command": "/bin/sleep 1000", "log_size_kb": "much"}, "monitor", 6, "log_size_kb"),
        ({"command": "/no/such/program"}, "validate-all", 5, "/no/such/program is not there"),
        ({"command": "/bin/false"}, "start", 1, "exited with status 1"),
        ({"command": "/bin/sleep 1000"}, "promote", 3, "usage"),
    ],
)
def test_what_cannot_be_has_the_exit_code_of_the_standard(
    environment: dict[str, str], settings: dict[str, str], action: str, code: int, reason: str
) -> None:
    environment |= {f"OCF_RESKEY_{name}": value for name, value in settings.items()}
    done = outward(environment, "service", action)
    assert (done.returncode, reason in done.stderr) == (code, True), done.stderr


@pytest.mark.long
def test_the_service_passes_the_tester(place: Path, environment: dict[str, str]) -> None:
    outward(environment, "install", str(place))
    said = run_tester(environment, "ocf-tester", "-o", "command=/bin/sleep 1000", str(place / "safekit/service"))
    assert "passed all tests" in said


@pytest.fixture
def wire() -> Iterator[Namespace]:
    with network_namespace() as here, network_namespace() as there:
        here.command("ip", "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", there.name)
        there.command("ip", "link", "set", "eth0", "up")
        here.command("ip", "link", "set", "eth0", "up")
        here.command("ip", "address", "add", "10.6.0.1/24", "dev", "eth0")
        yield here


@pytest.mark.long
def test_the_virtual_address_passes_the_tester(place: Path, environment: dict[str, str], wire: Namespace) -> None:
    outward(environment, "install", str(place))
    argv = [*wire.prefix, "ocf-tester", "-o", "address=10.6.0.100/24", str(place / "safekit/vip")]
    assert "passed all tests" in run_tester(environment, *argv)
