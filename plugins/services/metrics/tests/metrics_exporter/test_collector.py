from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from safekit_metrics import families
from safekit_metrics.reading import MAX_MODULES, MAX_RESOURCES

from metrics_exporter.node import FARM, REPLICATED, Node, module, value
from safekit_sdk.control import ControlClient

DURATION = families.DURATION


def test_a_mirror_and_its_directory_are_numbers(tmp_path: Path) -> None:
    said = [value("rfs.epoch", "7"), value("http.home", "down")]
    node = Node(modules=[module("web", values=said)], inspected={"rfs.data": REPLICATED, "vip.a": {"x": "1"}})
    with node.exporter(tmp_path) as exporter:
        text = exporter.text().decode()
    for line in (
        "safekit_daemon_up 1.0",
        'safekit_daemon_info{cluster="lab",node="node1",version="0.1.0"} 1.0',
        'safekit_node_alarms{node="node1"} 1.0',
        'safekit_heartbeat_gap_seconds{network="b",node="node1",peer="node2"} 31.0',
        'safekit_module_state{module="web",node="node1",state="PRIM"} 1.0',
        'safekit_module_state{module="web",node="node1",state="ALONE"} 0.0',
        'safekit_module_primary{kind="mirror",module="web",node="node1"} 1.0',
        'safekit_module_epoch{module="web",node="node1"} 7.0',
        'safekit_resource_verdict{module="web",node="node1",resource="http.home",verdict="down"} 1.0',
        'safekit_rfs_lag_bytes{module="web",node="node1",resource="rfs.data"} 4096.0',
        'safekit_rfs_dirty_zones{module="web",node="node1",resource="rfs.data"} 12.0',
        'safekit_rfs_up_to_date{module="web",node="node1",resource="rfs.data"} 1.0',
        'safekit_rfs_sent_bytes_total{module="web",node="node1",resource="rfs.data"} 1e+06',
        'safekit_rfs_resync_left_seconds{module="web",node="node1",resource="rfs.data"} 1.5',
    ):
        assert line in text.splitlines()
    assert "vip.a" not in text
    assert 'resource="rfs.epoch"' not in text
    assert float(text.partition('daemon_resident_memory_bytes{node="node1"} ')[2].split()[0]) > 1e6


def test_a_farm_says_its_part(tmp_path: Path) -> None:
    with Node(modules=[module("web", kind="farm", state="UP", farm=FARM)]).exporter(tmp_path) as exporter:
        text = exporter.text().decode()
    numbers = {"owned": 100, "held": 64, "unowned": 56, "moving": 3}
    for name, number in numbers.items():
        assert f'safekit_farm_buckets_{name}{{module="web",node="node1"}} {number}.0' in text
    assert 'safekit_farm_share_ratio{module="web",node="node1"} 0.25' in text


def test_a_take_over_is_timed_from_its_decision_to_its_end(tmp_path: Path) -> None:
    node = Node(modules=[module("web")])
    node.decide(100.0, "takeover", "SECOND/Ready", "ALONE/Transient")
    with node.exporter(tmp_path) as exporter:
        assert f'{DURATION}_count{{cause="takeover",module="web",node="node1"}} 0.0' in exporter.text().decode()
        node.decide(200.0, "takeover", "SECOND/Ready", "ALONE/Transient", "warning")
        assert f'{DURATION}_count{{cause="takeover",module="web",node="node1"}} 0.0' in exporter.text().decode()
        node.decide(201.5, "takeover", "ALONE/Transient", "ALONE/Ready")
        text = exporter.text().decode()
    labels = 'cause="takeover",module="web",node="node1"'
    assert f"{DURATION}_sum{{{labels}}} 1.5" in text
    assert f"{DURATION}_count{{{labels}}} 1.0" in text
    assert 'safekit_decisions_total{module="web",node="node1",severity="warning"} 1.0' in text


def test_a_take_over_that_fails_is_none(tmp_path: Path) -> None:
    node = Node()
    with node.exporter(tmp_path) as exporter:
        exporter.text().decode()
        node.decide(1.0, "takeover", "SECOND/Ready", "ALONE/Transient")
        node.decide(2.0, "failed", "ALONE/Transient", "STOP/NotReady")
        node.decide(3.0, "start", "STOP/NotReady", "ALONE/Ready")
        assert f"{DURATION}_count{{" not in exporter.text().decode()


def test_a_journal_that_began_anew_is_counted_from_its_beginning(tmp_path: Path) -> None:
    node = Node()
    for wall in range(5):
        node.decide(float(wall), "note", "", "")
    with node.exporter(tmp_path) as exporter:
        assert 'module="web",node="node1",severity="info"}' not in exporter.text().decode()
        node.entries.clear()
        node.incarnation = 2
        exporter.text().decode()
        node.decide(9.0, "note", "", "")
        assert 'module="web",node="node1",severity="info"} 1.0' in exporter.text().decode()


def test_a_daemon_that_does_not_answer_is_a_number_too(tmp_path: Path) -> None:
    node = Node(is_silent=True)
    with node.exporter(tmp_path) as exporter:
        assert "safekit_daemon_up 0.0" in exporter.text().decode()
    exporter._client = ControlClient(tmp_path / "nobody")
    assert "safekit_daemon_up 0.0" in exporter.text().decode()


def test_what_is_too_much_is_left_out_and_counted(tmp_path: Path) -> None:
    many = [value(f"tcp.n{number}", "up") for number in range(MAX_RESOURCES + 3)]
    modules = [module("web", values=many), *(module(f"m{number}") for number in range(MAX_MODULES))]
    with Node(modules=modules).exporter(tmp_path) as exporter:
        text = exporter.text().decode()
    assert "safekit_exporter_left_out 4.0" in text
    assert text.count('verdict="down"}') == MAX_RESOURCES


def test_each_name_is_documented_and_no_other_is_given(tmp_path: Path) -> None:
    said = dict.fromkeys(families.RFS, "1")
    modules = [module("web", values=[value("rfs.link", "up")]), module("farm", farm=FARM)]
    node = Node(modules=modules, inspected={"rfs.data": said})
    with node.exporter(tmp_path) as exporter:
        exporter.text().decode()
        node.decide(1.0, "swap", "SECOND/Ready", "PRIM/Transient")
        node.decide(2.0, "swap", "PRIM/Transient", "PRIM/Ready")
        text = exporter.text().decode()
    given = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    assert given - {f"{DURATION}_created"} == families.sample_names()
    page = (Path(__file__).parents[2] / "README.md").read_text()
    assert [
        name for name in families.sample_names() if f"`{re.sub('_(bucket|count|sum)$', '', name)}`" not in page
    ] == []
