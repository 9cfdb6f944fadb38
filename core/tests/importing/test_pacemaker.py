"""A CIB: what is one module, in which order, and what fences."""

from __future__ import annotations

from safekit.importing.account import Fate

from .kit import compiled, converted, draft, lost, silent_lines, told
from .samples import CIB


def test_all_modules_compile_with_the_real_plugins() -> None:
    modules = {one.name: compiled(one) for one in converted(CIB).drafts}
    assert {name: module.kind for name, module in modules.items()} == {
        "web": "mirror",
        "app": "mirror",
        "probe-clone": "light",
    }
    assert modules["web"].fences


def test_every_line_is_in_the_report() -> None:
    assert silent_lines(converted(CIB), CIB) == set()


def test_what_is_colocated_with_a_promoted_clone_is_one_module_with_it_in_the_order_of_the_constraints() -> None:
    pipeline = draft(converted(CIB), "app").content["pipeline"]
    assert [next(iter(step)) for step in pipeline] == ["fence", "ocf", "ocf"]
    assert pipeline[1]["ocf"] == {
        "name": "state",
        "agent": "ocf:pacemaker:Stateful",
        "monitor_timeout": "30s",
        "interval": "10s",
        "start_timeout": "100s",
        "promotable": True,
    }


def test_an_order_between_modules_is_a_checker() -> None:
    checkers = draft(converted(CIB), "web").content["checkers"]
    assert {"module": {"name": "app", "module": "app", "on": "any"}} in checkers
    assert {"module": {"name": "probe-clone", "module": "probe-clone", "on": "this"}} in checkers


def test_stonith_is_a_fence_step_of_every_mirror_and_its_password_a_reference() -> None:
    conversion = converted(CIB)
    fence = draft(conversion, "web").content["pipeline"][0]["fence"]
    assert fence["nodes"] == {"node1": {"ip": "10.0.9.11", "username": "admin"}, "node2": {"ip": "10.0.9.12"}}
    assert fence["node_secrets"] == {"node1": {"password": "file:/etc/safekit/secrets/power1-password"}}
    assert fence["delay"] == {"node1": "10s"}
    everything = str(conversion.findings) + str([one.content for one in conversion.drafts])
    assert "hunter2" not in everything
    assert "letmein" not in everything


def test_parameters_are_carried_and_secret_ones_by_reference() -> None:
    step = draft(converted(CIB), "app").content["pipeline"][2]["ocf"]
    assert step["parameters"] == {"additional_parameters": "--fill 50%%"}
    assert step["secrets"] == {"test_passwd": "file:/etc/safekit/secrets/app-test_passwd"}


def test_locations_choose_the_primary() -> None:
    assert draft(converted(CIB), "web").content["default_primary"] == "node2"


def test_meta_attributes_and_defaults_are_carried() -> None:
    conversion = converted(CIB)
    assert draft(conversion, "app").content["max_loops"] == 4
    assert draft(conversion, "app").content["loop_interval"] == "1h"
    assert told(conversion, 'value="Stopped"').fate is Fate.LOST


def test_what_has_no_counterpart_says_so() -> None:
    what = " ".join(lost(converted(CIB)))
    for words in (
        "<bundle>",
        "<podman>",
        "<rsc_ticket>",
        'type="check_x"',
        'score="-INFINITY"',
        "<rule>",
        'value="balanced"',
    ):
        assert words in what


def test_three_nodes_leave_two_to_a_mirror_and_say_which() -> None:
    more = CIB.replace('<node id="1" uname="node1"/>', '<node id="1" uname="node1"/><node id="3" uname="node3"/>')
    conversion = converted(more)
    assert draft(conversion, "web").content["nodes"] == ["node2", "node1"]
    assert any("does not run on node3" in note for note in conversion.notes)


def test_a_template_gives_its_agent_and_parameters() -> None:
    text = """<cib><configuration><resources>
    <template id="t" class="ocf" provider="heartbeat" type="Dummy">
      <instance_attributes id="a"><nvpair id="b" name="state" value="/run/x"/></instance_attributes>
    </template>
    <primitive id="p" template="t"/>
    </resources></configuration></cib>"""
    [one] = converted(text).drafts
    assert one.content["pipeline"][0]["ocf"]["agent"] == "ocf:heartbeat:Dummy"
    assert one.content["pipeline"][0]["ocf"]["parameters"] == {"state": "/run/x"}


def test_resource_sets_and_circles_of_orders_end() -> None:
    primitives = "".join(f'<primitive id="{name}" class="ocf" provider="heartbeat" type="Dummy"/>' for name in "abc")
    colocation = '<rsc_colocation id="c"><resource_set id="s">' + "".join(f'<resource_ref id="{n}"/>' for n in "abc")
    orders = "".join(f'<rsc_order id="o{f}{t}" first="{f}" then="{t}"/>' for f, t in ("ca", "ab", "bc"))
    text = f"<cib><configuration><resources>{primitives}</resources><constraints>{colocation}</resource_set>"
    [one] = converted(f"{text}</rsc_colocation>{orders}</constraints></configuration></cib>").drafts
    assert len(one.content["pipeline"]) == 3
