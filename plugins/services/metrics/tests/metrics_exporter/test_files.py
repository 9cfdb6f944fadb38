"""The dashboard and the alert rules, by Prometheus' own parser and against the names that are exported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from safekit_metrics.cli import packaged
from safekit_metrics.families import sample_names

NAMES = re.compile(r"\bsafekit_[a-z_]+")


def promtool(*words: str) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> list[str]:
    """Of the dashboard, with what Grafana would put for its variables."""
    panels = json.loads(packaged("dashboard.json"))["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [re.sub(r"\$\w+", ".*", expression) for expression in found]


def test_each_expression_of_the_dashboard_is_parsed_and_names_what_is_exported(tmp_path: Path) -> None:
    found = expressions()
    rules = [{"record": f"r:{number}", "expr": expression} for number, expression in enumerate(found)]
    rules_file = tmp_path / "rules.json"
    rules_file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(rules_file))
    assert len(found) > 20
    assert set(NAMES.findall(" ".join(found))) <= sample_names()


def test_a_panel_says_what_it_shows_and_none_lies_on_another() -> None:
    panels = json.loads(packaged("dashboard.json"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(places) == len(set(places))
    assert all(x < 24 for x, _ in places)
    assert all(panel["title"] for panel in panels)


def test_the_variables_of_the_dashboard_are_asked_of_what_is_exported() -> None:
    dashboard = json.loads(packaged("dashboard.json"))
    queries = " ".join(variable["query"] for variable in dashboard["templating"]["list"])
    assert NAMES.findall(queries)
    assert set(NAMES.findall(queries)) <= sample_names()


def test_the_alert_rules_are_accepted_and_ring_when_they_should(tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(packaged("alerts.yml"))
    shutil.copy(Path(__file__).parent / "alerts_test.yml", tmp_path / "test.yml")
    promtool("check", "rules", str(tmp_path / "alerts.yml"))
    promtool("test", "rules", str(tmp_path / "test.yml"))
    expressions = re.findall(r"expr: (.*)", packaged("alerts.yml"))
    assert set(NAMES.findall(" ".join(expressions))) <= sample_names()
