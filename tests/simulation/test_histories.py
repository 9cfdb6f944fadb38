"""As many seeded histories as there is time for, on all processors, from the first of a fixed range on."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

FIRST = 100_000
MOST = 20_000
LEAST = 200
"""On a machine that is busy with other gates."""
SECONDS = 40


def simulate(*options: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "safekit.simulation", *options)
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS, check=False)


def summary_of(output: str) -> dict[str, float]:
    """The numbers of the last line."""
    return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", output.splitlines()[-1])}


@pytest.mark.timeout(2 * SECONDS)
def test_every_promise_is_kept_in_every_history() -> None:
    done = simulate("--seed-start", str(FIRST), "--histories", str(MOST), "--hours", str(SECONDS / 3600))
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = summary_of(done.stdout)
    assert summary["violations"] == 0
    assert summary["histories"] >= LEAST


def test_the_summary_is_the_same_on_one_processor_and_on_two() -> None:
    """But for how long it took."""
    one, two = (
        simulate("--seed-start", str(FIRST), "--histories", "50", "--jobs", jobs).stdout.partition("histories_per")[0]
        for jobs in ("1", "2")
    )
    assert one == two
    assert summary_of(one)["histories"] == 50


def test_a_seed_is_one_history() -> None:
    first, second = (simulate("--seed", "17", "--trace").stdout for _ in range(2))
    assert first == second
    assert "safekitd starts (incarnation 1)" in first
    assert "seed 17: no violation" in first.splitlines()[-1]
