"""What an agent says of itself, and what follows for settings."""

from __future__ import annotations

import pytest
from safekit_resource_ocf import OcfConfig, limits
from safekit_resource_ocf.metadata import Metadata, parse, read_time_s

from safekit_sdk import ConfigError, Duration

PARAMETERS = """
<parameter name="ip" required="1">
<shortdesc lang="en">An address</shortdesc><content type="string" default=""/></parameter>
<parameter name="cidr_netmask"><content type="integer" default="24"/></parameter>
<parameter name="nodad"><content type="boolean" default="false"/></parameter>
<parameter name="dampen"><content type="integer" default="1s"/></parameter>
"""
ACTIONS = """
<action name="start" timeout="20s"/><action name="stop" timeout="3min"/>
<action name="monitor" depth="0" timeout="20" interval="10s"/>
<action name="monitor" depth="10" timeout="40s" interval="60s"/>
<action name="monitor" depth="0" timeout="30s" interval="5s" role="Master"/>
"""


def document(parameters: str = PARAMETERS, actions: str = ACTIONS, before: str = "") -> str:
    body = f"<parameters>{parameters}</parameters><actions>{actions}</actions>"
    return f'{before}<?xml version="1.0"?>\n<resource-agent name="a">{body}</resource-agent>\n'


@pytest.fixture
def metadata() -> Metadata:
    return parse(document())


@pytest.mark.parametrize(
    ("text", "time_s"),
    [("20", 20.0), ("20s", 20.0), ("500ms", 0.5), ("1min", 60.0), ("2m", 120.0), ("1h", 3600.0), ("0", 0.0)],
)
def test_a_time_is_read_with_and_without_a_unit(text: str, time_s: float) -> None:
    assert read_time_s(text) == time_s


@pytest.mark.parametrize("text", ["", "soon", "-1", "10 parsecs", None])
def test_what_is_no_time_is_none(text: str | None) -> None:
    assert read_time_s(text) is None


def test_a_parameter_that_is_meant_is_named(metadata: Metadata) -> None:
    assert metadata.objections({"IP": "10.0.0.1", "cidr_netmsk": "24"}) == [
        "the agent has no parameter 'IP'; did you mean 'ip'?",
        "the agent has no parameter 'cidr_netmsk'; did you mean 'cidr_netmask'?",
        "the parameter 'ip' is missing: An address",
    ]
    unlike = metadata.objections({"ip": "10.0.0.1", "zzzz": ""})
    assert unlike == ["the agent has no parameter 'zzzz'; it knows cidr_netmask, dampen, ip, nodad"]


def test_a_value_has_to_be_of_the_kind_that_the_agent_says(metadata: Metadata) -> None:
    assert metadata.objections({"ip": "10.0.0.1", "cidr_netmask": "24", "nodad": "ja", "trace_ra": "1"}) == []
    assert metadata.objections({"ip": "10.0.0.1", "cidr_netmask": "255.0", "nodad": "maybe"}) == [
        "cidr_netmask: '255.0' is not a whole number",
        "nodad: 'maybe' is neither true nor false",
    ]


def test_a_kind_that_the_agents_own_default_has_not_says_nothing(metadata: Metadata) -> None:
    assert metadata.objections({"ip": "10.0.0.1", "dampen": "5s"}) == []


def test_a_secret_counts_as_given_and_is_not_looked_at(metadata: Metadata) -> None:
    assert metadata.objections({}, ["ip", "cidr_netmask"]) == []
    assert metadata.objections({"ip": ""}, ["pasword"]) != []


def test_the_advice_for_a_role_or_a_depth_comes_first(metadata: Metadata) -> None:
    assert metadata.advice("monitor").interval_s == 10.0
    assert metadata.advice("monitor", promoted=True).interval_s == 5.0
    assert metadata.advice("monitor", depth=10).timeout_s == 40.0
    assert metadata.advice("promote").timeout_s is None
    assert metadata.depths() == [0, 10]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("", "gives no meta-data"),
        ("Segmentation fault", "gives no meta-data"),
        ("<resource-agent><parameters></resource-agent>", "cannot be read: mismatched tag"),
        (document('<!ENTITY a "b">'), "has declarations"),
        ('<!DOCTYPE r [<!ENTITY a "b">]>' + document("&a;"), "undefined entity"),
        (document(" " * 600_000), "is longer than"),
    ],
)
def test_what_is_no_metadata_is_refused(output: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(output)


def test_what_is_printed_around_it_is_passed_over() -> None:
    assert parse(document(before="WARNING: this agent is deprecated\n") + "bye").has("start")


def test_an_agent_that_advises_longer_than_a_step_may_take_needs_a_written_time(metadata: Metadata) -> None:
    slow = parse(document(actions='<action name="start" timeout="600s"/>'))
    limits.check(OcfConfig(agent="a:b"), metadata)
    with pytest.raises(ConfigError) as refused:
        limits.check(OcfConfig(agent="a:b"), slow)
    assert "advises 600s for its start; start_timeout (200s) is too short" in str(refused.value)
    assert "start_timeout: 667s" in refused.value.hint
    limits.check(OcfConfig(agent="a:b", start_timeout=Duration(30)), slow)


def test_what_the_operator_wrote_goes_before_what_the_agent_advises(metadata: Metadata) -> None:
    plain = OcfConfig(agent="a:b")
    own = OcfConfig(
        agent="a:b", start_timeout=Duration(100), interval=Duration(3), monitor_timeout=Duration(4), check_level=10
    )
    assert limits.step_s(plain, metadata, "start") == 20.0
    assert limits.step_s(plain, metadata, "stop") == 180.0
    assert limits.step_s(own, metadata, "start") == 90.0
    assert limits.interval_s(plain, metadata, promoted=False) == 10.0
    assert limits.interval_s(own, metadata, promoted=False) == 3.0
    assert limits.monitor_s(plain, metadata, promoted=True) == 30.0
    assert limits.monitor_s(own, metadata, promoted=True) == 4.0
    assert limits.step_s(plain, Metadata(), "promote") == limits.DEFAULT_S
