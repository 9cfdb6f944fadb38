"""`safekit ocf …`, as an operator types it."""

from __future__ import annotations

import json

import pytest
from ruamel.yaml import YAML
from safekit_resource_ocf import OcfConfig, OcfResource
from safekit_resource_ocf.commands import app
from typer.testing import CliRunner

from safekit_sdk import ConfigError

from .agents import DaemonAgent


def run(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_the_agents_are_listed_with_what_they_do(daemon: DaemonAgent) -> None:
    broken = daemon.path.with_name("broken")
    broken.write_text("#!/bin/sh\necho nothing\n")
    broken.chmod(0o755)
    daemon.path.with_name("readme").write_text("not an agent")
    listed = json.loads(run("list", "--root", str(daemon.root), "--json"))
    assert list(listed) == ["test:broken", "test:daemon"]
    assert listed["test:daemon"] == "A daemon"
    assert "gives no meta-data" in listed["test:broken"]
    assert "test:daemon" in run("list", "--root", str(daemon.root))


def test_an_agent_is_shown_as_a_step_to_paste(daemon: DaemonAgent) -> None:
    shown = run("show", "test:daemon", "--root", str(daemon.root))
    (step,) = YAML(typ="safe").load(shown)
    assert step["ocf"] == {"agent": "test:daemon", "root": str(daemon.root), "parameters": {"state": ""}}
    for line in (
        "# port: 80  # integer: A number",
        "# promotable: true",
        "# interval: 2s",
        "# check_level: 0  # or 10",
    ):
        assert line in shown
    bare = YAML(typ="safe").load(shown.replace("# ", "", 0).replace("      # ", "      "))
    config = OcfConfig.model_validate(bare[0]["ocf"])
    assert set(config.parameters) == {"state", "port", "eager", "word"}
    assert OcfResource.scopes(config, "mirror") == ("prim",)


def test_a_time_that_the_default_does_not_allow_is_written_out(daemon: DaemonAgent) -> None:
    daemon.path.write_text(daemon.path.read_text().replace('promote" timeout="10s"', 'promote" timeout="300s"'))
    assert "\n    start_timeout: 334s\n" in run("show", "test:daemon", "--root", str(daemon.root))


@pytest.mark.parametrize(("agent", "message"), [("daemon", "is no agent"), ("test:none", "is not there")])
def test_an_agent_that_is_not_there_is_told(daemon: DaemonAgent, agent: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run("show", agent, "--root", str(daemon.root))
