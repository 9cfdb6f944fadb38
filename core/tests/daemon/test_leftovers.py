"""A host that an earlier daemon has left, stopped in the middle of something, is killed before anything begins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from safekit.daemon.leftovers import HostRecords


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) as started:
        yield started
        started.kill()


def test_a_host_that_stands_still_is_killed(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    HostRecords(tmp_path / "hosts").note("web", process.pid)
    os.kill(process.pid, signal.SIGSTOP)
    assert HostRecords(tmp_path / "hosts").end_all() == [process.pid]
    assert process.wait(5) == -signal.SIGKILL
    assert HostRecords(tmp_path / "hosts").end_all() == []


@pytest.mark.parametrize("text", ["{pid} 1\n", "{pid}\n", "\n", "x y\n"])
def test_another_process_of_the_same_number_is_left_alone(
    tmp_path: Path, process: subprocess.Popen[bytes], text: str
) -> None:
    records = HostRecords(tmp_path)
    (tmp_path / "web").write_text(text.format(pid=process.pid))
    assert records.end_all() == []
    assert process.poll() is None
