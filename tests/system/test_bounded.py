"""A bounded part of what `make bench` and `make starve` run for long."""

from __future__ import annotations

import json
from pathlib import Path

import failover
import figures
import pytest
import starved

pytestmark = pytest.mark.system


def test_a_starved_machine_keeps_its_primary() -> None:
    found = {figure.name: figure.value for figure in starved.starve(20.0)}
    assert found["starved.false_failovers"] == 0
    assert found["starved.requests"] > 100


def test_a_bench_measures_each_fault_and_writes_the_form_that_the_documentation_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "PLACE", tmp_path)
    runs = failover.measure("safekit, tuned", ("node_crash", "app_death"), 1)
    found = [figure for fault in runs for figure in figures.figures(fault, runs[fault], {"other": [1.0]})]
    document = json.loads(figures.write("failover", found).read_text())
    assert set(document) == {"figures", "machine"}
    assert [figure["name"] for figure in document["figures"]][:3] == [
        "node_crash.median",
        "node_crash.p95",
        "node_crash.max",
    ]
    for figure in document["figures"]:
        assert set(figure) == {"name", "value", "unit", "runs", "peers"}
        assert 0 <= figure["value"] < float("inf")
    assert document["machine"]["cpus"] >= 1
