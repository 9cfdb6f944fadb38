import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from safekit_lab import Lab

pytestmark = pytest.mark.system
Eventually = Callable[[Callable[[], object]], None]
NAME = "commanded"


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from safekit_lab.cli import app; app()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module", autouse=True)
def running() -> Iterator[None]:
    done = lab("up", "--nodes", "2", "--clients", "1", "--name", NAME, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert [row["name"] for row in json.loads(done.stdout)] == ["node1", "node2", "client1"]
    yield
    assert lab("down", "--name", NAME).returncode == 0
    assert lab("down", "--name", NAME).returncode == 1


def test_the_list_shows_every_node_in_every_format() -> None:
    assert "node2" in lab("list").stdout
    rows = json.loads(lab("list", "-o", "json").stdout)
    assert rows[0]["ipv4"] == ["10.77.0.1"]
    assert '  name: "node1"\n' in lab("list", "-o", "yaml").stdout


def test_the_exit_code_of_a_command_is_passed_on() -> None:
    assert lab("exec", "node1", "--name", NAME, "--", "sh", "-c", "exit 7").returncode == 7
    assert lab("exec", "node1", "--name", NAME, "--", "sh", "-c", "kill -9 $$").returncode == 137
    assert lab("exec", "node1", "--name", NAME, "--", "no-such-command").returncode == 127


def test_input_and_output_pass_through() -> None:
    command = [sys.executable, "-m", "safekit_lab", "exec", "node2", "--name", NAME, "--", "tr", "a-z", "A-Z"]
    done = subprocess.run(command, input="hello", capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "HELLO"


def test_a_terminal_passes_through() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "safekit_lab", "exec", "node1", "--name", NAME, "--", "test", "-t", "0"]
    done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0


def test_a_background_command_survives_the_exec_and_dies_with_the_node(eventually: Eventually) -> None:
    assert lab("exec", "node1", "--background", "--name", NAME, "--", "sleep", "611").returncode == 0
    node = Lab.find(NAME).node("node1")
    eventually(lambda: "sleep 611" in node.run(["ps", "-e", "-o", "args="]).stdout)
    assert lab("fault", "node1", "crash", "--name", NAME).returncode == 0
    refused = lab("exec", "node1", "--name", NAME, "--", "true")
    assert refused.returncode == 1 and "lab start node1" in refused.stderr
    assert lab("start", "node1", "--name", NAME).returncode == 0
    assert "sleep 611" not in node.run(["ps", "-e", "-o", "args="]).stdout


def test_faults_and_their_ends_work_from_the_command_line() -> None:
    ping = ("exec", "node2", "--name", NAME, "--", "ping", "-c1", "-W1", "10.77.0.1")
    for fault, end in (("cut", "heal"), ("freeze --deep", "thaw"), ("loss 100 --network 0 --to node2", "heal")):
        assert lab("fault", "node1", *fault.split(), "--name", NAME).returncode == 0
        assert lab(*ping).returncode == 1
        assert lab("fault", "node1", end, "--name", NAME).returncode == 0
        assert lab(*ping).returncode == 0
    for fault in ("fill-disk", "free-disk", "clock-step -5", "clock-step 5"):
        assert lab("fault", "node2", *fault.split(), "--name", NAME).returncode == 0


def test_the_probe_prints_a_summary() -> None:
    done = lab("probe", "--url", "http://node1:81/", "--duration", "100ms", "--name", NAME, "-o", "json")
    (summary,) = json.loads(done.stdout)
    assert summary["errors"] == {"refused": 10}
    assert summary["outages"][0]["failed"] == 10
    assert "refused 10" in lab("probe", "--url", "http://node1:81/", "--duration", "100ms", "--name", NAME).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "--name", NAME), "already up"),
        (("up", "--name", "Bad Name"), "name:"),
        (("exec", "node9", "--name", NAME, "--", "true"), "no node 'node9'"),
        (("down", "--name", "nowhere"), "no lab named 'nowhere'"),
        (("start", "node1", "--name", NAME), "already running"),
        (("up", "--disk-size", "lots", "--name", "x"), "is not a size"),
        (("up", "--bind", "/nonexistent", "--name", "x"), "no such file"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(arguments: tuple[str, ...], message: str) -> None:
    done = lab(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and message in done.stderr and "Traceback" not in done.stderr


def test_without_root_the_error_says_so() -> None:
    code = "import os; os.setuid(65534); from safekit_lab.cli import app; app(['up', '--name', 'x'])"
    preloaded = f"import safekit_lab.cli, safekit_lab.lab; {code}"  # nobody may not read a package below /root
    done = subprocess.run([sys.executable, "-c", preloaded], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "needs root" in done.stderr


def test_a_lab_with_an_owner_ends_with_it(eventually: Eventually) -> None:
    with subprocess.Popen(["sleep", "600"]) as owner:
        done = lab("up", "--nodes", "1", "--name", "owned", "--owner", str(owner.pid))
        assert done.returncode == 0, done.stderr
        assert '"owned"' in lab("list", "-o", "json").stdout
        owner.kill()
    eventually(lambda: '"owned"' not in lab("list", "-o", "json").stdout)
