"""What a module file may say, and what `plan` finds on the machine."""

from __future__ import annotations

from typing import Any

import pytest
from fence_power import Power
from pydantic import ValidationError
from safekit_resource_fence import FenceConfig, FenceResource
from safekit_resource_fence.metadata import LIMIT_BYTES, parse

from safekit_sdk import ConfigError, ModuleKind

NODES = {"node1": {"plug": 1}, "node2": {"plug": 2}}


def plan(power: Power, kind: ModuleKind = "mirror", **settings: Any) -> list[str]:
    return FenceResource.preflight(FenceConfig.model_validate({**power.settings, **settings}), kind)


def test_a_machine_that_can_fence_has_nothing_to_object_to(power: Power) -> None:
    assert plan(power) == []
    assert power.actions() == []


@pytest.mark.parametrize(
    ("agent", "package"),
    [("fence_no_such", "fence-agents"), ("/usr/sbin/fence_no_such", "fence-agents"), ("/no/fence_xvm", "fence-virt")],
)
def test_an_agent_that_is_not_there_is_told_with_its_package(power: Power, agent: str, package: str) -> None:
    (finding,) = plan(power, agent=agent)
    assert f"{agent} is not there" in finding
    assert f"the package {package})" in finding


def test_an_option_that_the_agent_does_not_know_is_told_with_the_nearest(power: Power) -> None:
    found = plan(power, options={"ipp": "192.0.2.9"}, secrets={"passwords": "env:HOME"})
    assert found == [
        "the agent has no option 'ipp'; did you mean 'ip'?",
        "the agent has no option 'passwords'; did you mean 'password'?",
    ]
    (finding,) = plan(power, nodes={"node1": {"xyz": 1}, "node2": {"xyz": 2}})
    assert finding == "the agent has no option 'xyz'; it knows action, ip, password, plug, verbose"


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        ("without status", "confirm: false"),
        ("without off", "can cut nobody"),
        ("doctype", "has declarations"),
        ("nothing", "gives no metadata"),
        ("exit 1", "gives no metadata"),
        ("die", "gives no metadata"),
    ],
)
def test_an_agent_that_is_not_fit_is_told(power: Power, mode: str, what: str) -> None:
    power.mode(metadata=mode)
    (finding,) = plan(power)
    assert what in finding


def test_noise_before_the_metadata_is_passed_over_unless_it_is_endless(power: Power) -> None:
    power.mode(metadata="verbose")
    assert plan(power) == []
    power.mode(metadata="print")
    (finding,) = plan(power)
    assert "longer than 262144 bytes" in finding


def test_an_agent_that_hangs_does_not_hold_the_plan_up(power: Power) -> None:
    power.mode(metadata="hang")
    (finding,) = plan(power, status_timeout="300ms")
    assert "gives no metadata: no end within" in finding


def test_without_confirmation_no_status_is_needed(power: Power) -> None:
    power.mode(metadata="without status")
    assert plan(power, confirm=False) == []


def test_a_secret_that_cannot_be_read_is_told_once(power: Power) -> None:
    (power.place / "secret").chmod(0o644)
    (finding,) = plan(power)
    assert "is open to others" in finding


def test_only_a_mirror_fences(power: Power) -> None:
    (finding,) = plan(power, kind="farm")
    assert "only a mirror fences" in finding


def test_a_secondary_has_it_started() -> None:
    config = FenceConfig.model_validate({"agent": "fence_x", "nodes": NODES})
    assert FenceResource.scopes(config, "mirror") == ("both",)
    assert FenceResource.fences()
    assert FenceResource.restarts is False
    assert config.action == "none"


@pytest.mark.parametrize(
    ("agent", "ident"), [("fence_ipmilan", "fence_ipmilan"), ("/opt/a b", ""), ("/opt/fence+x", "fence_x")]
)
def test_the_identifier_is_the_agents_name(agent: str, ident: str) -> None:
    if not ident:
        with pytest.raises(ValidationError):
            FenceConfig.model_validate({"agent": agent, "nodes": NODES})
        return
    assert FenceResource.ident(FenceConfig.model_validate({"agent": agent, "nodes": NODES})) == ident


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"nodes": {"node1": {"plug": 1}}}, "at least 2"),
        ({"nodes": {"node1": {"plug": 1}, "node2": {"plug": "1"}}}, "would cut the other as well"),
        ({"nodes": {"node1": {"plug": 1.1}, "node2": {}}}, "put it in quotes"),
        ({"nodes": {"node1": {"plug": "1\naction=on"}, "node2": {}}}, "nodes"),
        ({"options": {"action": "reboot"}}, "at each call"),
        ({"secrets": {"action": "env:A"}}, "at each call"),
        ({"options": {"a=b": 1}}, "options"),
        ({"options": {"passwd": "x"}}, "give it in `secrets`"),
        ({"options": {"ip": ["x"]}}, "options"),
        ({"secrets": {"password": "in plain"}}, "by reference"),
        ({"secrets": {"plug": "env:A"}}, "an option and a secret of node1"),
        ({"node_secrets": {"node3": {"password": "env:A"}}}, "node_secrets names node3"),
        ({"delay": {"node3": "1s"}}, "delay names node3"),
        ({"delay": "2m"}, "more than 1m"),
        ({"delay": "30s"}, "start_timeout: 2m ends a fencing that may take 122.5s"),
        ({"retries": 5}, "start_timeout"),
        ({"retries": 6}, "retries"),
        ({"off_timeout": "0s"}, "longer than 0s"),
        ({"interval": "100ms"}, "interval is 1s at least"),
        ({"when": "prim"}, "remove `when`"),
        ({"agent": "fence x"}, "agent"),
        ({"agent": "../fence_x"}, "agent"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        FenceConfig.model_validate({"agent": "fence_x", "nodes": NODES, **settings})


def test_nodes_that_the_agent_finds_by_their_names_need_no_options() -> None:
    config = FenceConfig.model_validate({"agent": "fence_x", "nodes": {"node1": {}, "node2": {}}})
    assert config.plain("node1") == {}


@pytest.mark.parametrize("delay", ["5s", {"node1": "5s", "node2": "0s"}])
def test_a_delay_survives_being_written_and_read_again(delay: Any) -> None:
    config = FenceConfig.model_validate({"agent": "fence_x", "nodes": NODES, "delay": delay})
    assert config.model_dump(mode="json")["delay"] == delay
    assert FenceConfig.model_validate_json(config.model_dump_json()) == config
    assert (config.delay_s("node1"), config.delay_s("node2")) == (5.0, 5.0 if delay == "5s" else 0.0)


def test_metadata_with_entities_is_not_read() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><resource-agent>&b;</resource-agent>'
    with pytest.raises(ConfigError, match="cannot be read"):
        parse(bomb)
    with pytest.raises(ConfigError, match="declarations"):
        parse(f"<resource-agent>{bomb}</resource-agent>")
    with pytest.raises(ConfigError, match="longer than"):
        parse("x" * LIMIT_BYTES)
