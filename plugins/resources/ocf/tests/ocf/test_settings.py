"""What is refused, where, and with which words; what the agent gets of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_resource_ocf import OcfConfig, OcfResource

from safekit_sdk import ConfigError
from safekit_sdk.testing import RecordingContext

from .agents import DaemonAgent
from .conftest import Made


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"agent": "IPaddr2"}, "agent"),
        ({"agent": "heartbeat:../../bin/sh"}, "agent"),
        ({"agent": "a:b", "parameters": {"x": 1.5}}, "put it in quotes"),
        ({"agent": "a:b", "parameters": {"CRM_meta_interval": 1}}, "said to the agent at each call"),
        ({"agent": "a:b", "parameters": {"x": 1}, "secrets": {"x": "env:X"}}, "in `parameters` and in `secrets`"),
        ({"agent": "a:b", "secrets": {"x": "hush"}}, "a secret is given by reference"),
        ({"agent": "a:b", "promotable": True, "when": "prim"}, "started in both roles"),
        ({"agent": "a:b", "interval": "100ms"}, "1s at least"),
        ({"agent": "a:b", "root": "ocf"}, "root"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        OcfConfig.model_validate(settings)


def refusal(daemon: DaemonAgent, **settings: Any) -> str:
    config = OcfConfig.model_validate({**daemon.settings, **settings})
    with pytest.raises(ConfigError) as refused:
        OcfResource.scopes(config, "mirror")
    return str(refused.value)


def test_parameters_are_compared_with_the_agents_own_words(daemon: DaemonAgent) -> None:
    said = refusal(daemon, parameters={"sate": "/tmp", "port": "eighty", "eager": "perhaps"})
    assert "the agent has no parameter 'sate'; did you mean 'state'?" in said
    assert "port: 'eighty' is not a whole number" in said
    assert "eager: 'perhaps' is neither true nor false" in said
    assert "the parameter 'state' is missing: A directory" in said
    assert "safekit ocf show test:daemon" in said


def test_what_the_agent_cannot_do_is_refused(daemon: DaemonAgent) -> None:
    assert "no monitor of depth 5" in refusal(daemon, check_level=5)
    script = daemon.path.read_text()
    daemon.path.write_text(script.replace('<action name="promote" timeout="10s"/>', ""))
    assert "cannot be promoted" in refusal(daemon, promotable=True)
    daemon.path.write_text(script.replace('start" timeout="20s"', 'start" timeout="500s"'))
    assert "start_timeout: 556s" in refusal(daemon)


@pytest.mark.parametrize(
    ("snippet", "message"),
    [
        ("echo nonsense; exit 0", "gives no meta-data"),
        ("echo '<resource-agent><!ENTITY a \"b\"></resource-agent>'; exit 0", "has declarations"),
        ("exec sleep 1000", "gives no meta-data: no end within"),
    ],
)
def test_an_agent_without_metadata_is_refused(
    daemon: DaemonAgent, monkeypatch: pytest.MonkeyPatch, snippet: str, message: str
) -> None:
    monkeypatch.setattr("safekit_resource_ocf.agents.METADATA_S", 1.0)
    daemon.path.write_text(f"#!/bin/sh\n{snippet}\n")
    assert message in refusal(daemon)


def test_a_machine_without_the_agent_says_so_before_anything_runs(daemon: DaemonAgent) -> None:
    config = OcfConfig.model_validate({**daemon.settings, "agent": "heartbeat:IPadr2", "promotable": True})
    assert OcfResource.scopes(config, "mirror") == ("both",)
    assert OcfResource.scopes(config, "light") == ("both",)
    (finding,) = OcfResource.preflight(config, "mirror")
    assert "is not there; install it (on Debian the package resource-agents)" in finding
    assert len(OcfResource.preflight(config, "farm")) == 2


async def test_the_agent_gets_what_the_standard_has(
    daemon: DaemonAgent, make: Made, context: RecordingContext, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush hush\n")
    secret.chmod(0o600)
    daemon.mode(start='env >"$state/env"; echo "my word is $OCF_RESKEY_word"; tr "\\0" " " </proc/$$/cmdline; exit 1')
    settings = daemon.settings
    settings["parameters"] |= {"port": 8080, "eager": True}
    resource = make(**settings, secrets={"word": f"file:{secret}"}, promotable=True, start_timeout="10s")
    with pytest.raises(ConfigError) as failure:
        await resource.start()
    assert "my word is ***" in str(failure.value)
    assert "hush" not in str(failure.value)
    got = dict(line.split("=", 1) for line in (daemon.state / "env").read_text().splitlines() if "=" in line)
    expected = {
        "OCF_ROOT": str(daemon.root),
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_RESOURCE_INSTANCE": f"{context.module}-default",
        "OCF_RESOURCE_TYPE": "daemon",
        "OCF_RESOURCE_PROVIDER": "test",
        "OCF_RESKEY_port": "8080",
        "OCF_RESKEY_eager": "true",
        "OCF_RESKEY_word": "hush hush",
        "OCF_RESKEY_CRM_meta_timeout": "9000",
        "OCF_RESKEY_CRM_meta_interval": "0",
        "OCF_RESKEY_CRM_meta_on_node": "node1",
        "OCF_RESKEY_CRM_meta_clone_max": "2",
        "OCF_RESKEY_CRM_meta_notify": "true",
        "OCF_CHECK_LEVEL": "0",
        "HA_RSCTMP": "/run/resource-agents",
    }
    assert {name: got.get(name) for name in expected} == expected


async def test_the_monitor_is_told_how_deep_to_look(daemon: DaemonAgent, make: Made) -> None:
    resource = make(**daemon.settings, check_level=10)
    await resource.start()
    daemon.mode(monitor='echo "$OCF_CHECK_LEVEL $OCF_RESKEY_CRM_meta_interval" >"$state/asked"')
    watch = resource.watch()
    await anext(watch)
    await watch.aclose()  # type: ignore[attr-defined]
    assert (daemon.state / "asked").read_text() == "10 30000\n"
    daemon.mode()


async def test_a_secret_that_is_gone_keeps_nothing_from_being_stopped(
    daemon: DaemonAgent, make: Made, context: RecordingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_WORD", "hush")
    resource = make(**daemon.settings, secrets={"word": "env:SHOP_WORD"})
    await resource.start()
    monkeypatch.delenv("SHOP_WORD")
    with pytest.raises(ConfigError, match="SHOP_WORD is not set"):
        await resource.start()
    daemon.mode(stop='[ -z "$OCF_RESKEY_word" ] || exit 1')
    await resource.stop(True)
    assert daemon.traces() == []
    assert any("called without it" in line for line in context.lines)
