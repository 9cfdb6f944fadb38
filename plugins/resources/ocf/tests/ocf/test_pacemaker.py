"""The stand-ins for Pacemaker's programs, run as an agent runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safekit_resource_ocf import pacemaker

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    environment = {
        pacemaker.NODE: "node1",
        pacemaker.REBOOT: str(tmp_path / "reboot"),
        pacemaker.FOREVER: str(tmp_path / "forever"),
        pacemaker.REFUSED: str(tmp_path / "refused"),
        "OCF_RESOURCE_INSTANCE": "shop-db",
    }

    def run(line: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-I", "-S", pacemaker.__file__, *line.split()]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=False)

    return run


def test_an_attribute_is_kept_asked_for_and_removed(call: Call, tmp_path: Path) -> None:
    assert call("crm_attribute -N node1 -l reboot --name state -v PRI").returncode == 0
    assert call("crm_attribute -N node1 -l reboot -n state -G -q").stdout == "PRI\n"
    assert call("crm_attribute -l reboot -n state --query").stdout == "scope=status  name=state value=PRI\n"
    assert (tmp_path / "reboot/state").read_text() == "PRI"
    assert call("crm_attribute -l reboot -n state -D").returncode == 0
    gone = call("crm_attribute -l reboot -n state -G -q")
    assert (gone.returncode, gone.stdout) == (pacemaker.NO_SUCH, "")
    assert call("crm_attribute -l reboot -n state -G -q -d none").stdout == "none\n"


def test_what_is_to_last_lies_elsewhere(call: Call, tmp_path: Path) -> None:
    call(f"crm_attribute -N {os.uname().nodename} -l forever -n data-status -v LATEST")
    assert (tmp_path / "forever/data-status").read_text() == "LATEST"
    assert call("crm_attribute -n data-status -G -q").stdout == "LATEST\n"
    assert call("crm_attribute -l reboot -n data-status -G -q").returncode == pacemaker.NO_SUCH


@pytest.mark.parametrize("program", ["crm_master -l reboot", "crm_attribute -p", "crm_attribute --promotion"])
def test_a_promotion_score_is_an_attribute_of_the_instance(call: Call, tmp_path: Path, program: str) -> None:
    assert call(f"{program} -v 10").returncode == 0
    assert (tmp_path / "reboot/master-shop-db").read_text() == "10"
    assert call(f"{program} -G -q").stdout == "10\n"
    assert call(f"{program} -D").returncode == 0
    assert not (tmp_path / "reboot/master-shop-db").exists()


def test_the_attribute_daemon_is_asked_in_its_own_words(call: Call) -> None:
    assert call("attrd_updater -n pingd -U 100 -d 5s -p").returncode == 0
    assert call("attrd_updater -n pingd -Q").stdout == 'name="pingd" host="node1" value="100"\n'
    assert call("attrd_updater --delete --name pingd").returncode == 0
    assert call("attrd_updater -n pingd -Q").returncode == pacemaker.NO_SUCH


def test_a_value_can_count(call: Call) -> None:
    for _ in range(2):
        call("attrd_updater -n fails -U fails++")
    call("attrd_updater -n fails -U fails+=5")
    assert 'value="7"' in call("attrd_updater -n fails -Q").stdout


def test_the_name_of_the_node_is_known(call: Call) -> None:
    assert call("crm_node -n").stdout == "node1\n"


@pytest.mark.parametrize(
    "line",
    [
        "crm_node -p",
        "crm_node -i",
        "crm_mon -1 --as-xml",
        "cibadmin -Q",
        "crm_resource -Q -r shop -z -g cpu",
        "crm_attribute -N node2 -l reboot -n state -G -q",
        "crm_attribute --type crm_config --name repl -s mysql_replication -v x",
        "crm_attribute -n ../../etc/passwd -v x",
        "crm_attribute -n state -v x --no-such-option",
        "crm_attribute -n state -l sometimes -v x",
        "crm_attribute -n state -v x surplus",
    ],
)
def test_what_only_a_cluster_could_answer_fails_aloud(call: Call, tmp_path: Path, line: str) -> None:
    done = call(line)
    assert (done.returncode, done.stdout) == (pacemaker.DISCONNECTED, "")
    assert "not connected to a cluster" in done.stderr
    assert (tmp_path / "refused").read_text() == done.stderr
    assert not (tmp_path / "forever").exists()
