"""What plugins see on a machine before anything changes there: each is told where it would live; nothing is made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from safekit.config.compiled import CompiledModule
from safekit.config.compiler import compile_module
from safekit.host.instances import Maker, Surroundings
from safekit_sdk.testing.distribution import install_distribution

PLUGIN = '''
from safekit_sdk import Config, Examination, Resource, ResourceConfig, RefusedError


class PlaceConfig(ResourceConfig):
    refuses: bool = False


class Place(Resource[PlaceConfig], api=1):
    """Says where it would live."""

    @classmethod
    def examine(cls, config, context, beside):
        if config.refuses:
            raise RefusedError("not here")
        names = [other.name for other in beside]
        who = context.settings["who"]
        steps = [(plugin, settings["name"]) for plugin, settings in context.pipeline]
        said = f"{context.module} {context.node} {who} {context.state_dir} {context.run_dir} {names} {steps}"
        facts = {"who": who, "long": "x" * 70_000, **{str(number): "" for number in range(20)}}
        return Examination(("a finding",), (said, "x" * 1000, *["too many"] * 20), facts)

    @classmethod
    def confront(cls, config, facts):
        if config.name == "two:2":
            raise ValueError("it cannot")
        told = {node: one["who"] for node, one in facts.items()}
        return {"node2": [f"{told}"], "elsewhere": ["not asked for"]}
'''
MODULE = """
kind: mirror
variables: {who: me}
pipeline:
  - place: {name: one}
  - place: {name: "two:2"}
  - place: {name: three, refuses: true}
"""


def compiled(tmp_path: Path) -> dict[str, Any]:
    """The answer for the module, with all plugins of a place of their own."""
    site, module = tmp_path / "site", tmp_path / "module"
    site.mkdir()
    module.mkdir()
    install_distribution(site, "safekit-place", {"safekit.resources": {"place": "place_plugin:Place"}})
    (site / "place_plugin.py").write_text(PLUGIN)
    (module / "module.yaml").write_text(MODULE)
    return ask(tmp_path, {"module": "web", "directory": str(module), "nodes": ["node1", "node2"], "node": "node1"})


def ask(tmp_path: Path, request: dict[str, Any]) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "SAFEKIT_VAR": str(tmp_path / "var")}
    environment["SAFEKIT_RUN"] = str(tmp_path / "run")
    command = [sys.executable, "-m", "safekit.host", "--compile"]
    done = subprocess.run(command, input=json.dumps(request).encode(), capture_output=True, env=environment, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["error"] is None, answer
    return answer


def test_a_plugin_knows_where_it_would_live_and_what_is_beside_it(tmp_path: Path) -> None:
    answer = compiled(tmp_path)
    assert answer["findings"] == ["place: a finding", "place: a finding", "place: not here"]
    first, long, *rest = answer["compiled"]["remarks"]
    var, run = (tmp_path / name / "modules" / "web" / "place.one" for name in ("var", "run"))
    steps = [("place", "one"), ("place", "two:2"), ("place", "three")]
    assert first == f"place.one: web node1 me {var} {run} ['two:2', 'three'] {steps}"
    assert (len(long), len(rest)) == (len("place.one: ") + 400, 2 * 8 - 2)
    assert not (tmp_path / "var").exists()


def test_the_facts_of_all_nodes_are_compared_and_bounded(tmp_path: Path) -> None:
    answer = compiled(tmp_path)
    assert answer["facts"].keys() == {"place.one", "place.two:2"}
    assert answer["facts"]["place.one"] == {"who": "me", **{str(number): "" for number in range(14)}}
    facts = {"node1": answer["facts"], "node2": {**answer["facts"], "place.one": {"who": "you"}}, "node3": {}}
    found = ask(tmp_path, {"question": "confront", "compiled": answer["compiled"], "facts": facts})["findings"]
    assert found["node1"] == found["node2"][1:]
    assert found["node2"][0] == "place: {'node1': 'me', 'node2': 'you'}"
    (broken,) = found["node1"]
    assert "cannot compare the nodes" in broken
    assert "it cannot" in broken
    assert found.keys() == {"node1", "node2"}


def test_it_lives_there_when_it_is_made(tmp_path: Path) -> None:
    """The host makes the directories that the examination names."""
    document = b"kind: mirror\npipeline:\n  - health: {name: 'a:b'}\n"
    module: CompiledModule = compile_module(document, "module.yaml", ("node1", "node2"), "web", node="node1")
    around = Surroundings("node1", tmp_path / "var", tmp_path / "run")
    (step,) = Maker(module, around, lambda *_: None, lambda _: None).steps()[:1]
    assert step.resource.context.state_dir == tmp_path / "var" / "modules" / "web" / "health.a_b"
