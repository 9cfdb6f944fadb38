"""What an apply would change and interrupt, told before it happens."""

from __future__ import annotations

from typing import Any

import pytest

from safekit.config.compiled import CompiledModule, CompiledStep, CompiledWitness
from safekit.config.compiler import compile_module, signature
from safekit.config.errors import ConfigErrors
from safekit.config.plan import Impact, Plan, diff, lines

BASE = """\
kind: mirror
description: The shop
variables: {COLOUR: red}
pipeline:
  - drawbridge: {address: 10.0.0.9/24}
  - harbour: {}
checkers:
  - lighthouse: {port: 80}
rules:
  - "r: if (lighthouse.80 == unknown) then restart"
"""


@pytest.fixture(autouse=True)
def plugins(distributions: Any) -> Any:
    distributions.add_all()
    return distributions


def compiled(text: str, nodes: tuple[str, ...] = ("n1", "n2")) -> CompiledModule:
    return compile_module(text, "web/module.yaml", nodes, "web")


def plan(old: str, new: str) -> Plan:
    assert old in BASE
    return diff(compiled(BASE), compiled(BASE.replace(old, new)))


def shown(found: Plan) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(change.action, change.what, change.impact.value, change.details) for change in found.changes]


def test_the_same_again_changes_nothing() -> None:
    found = diff(compiled(BASE), compiled("# a comment\n" + BASE))
    assert (found.changed, found.changes, found.impact) == (False, (), Impact.NONE)
    assert lines(found)[0] == "module 'web': nothing changes"


def test_a_new_module_is_added_and_interrupts_nothing() -> None:
    found = diff(None, compiled(BASE))
    assert (found.new, found.changed, found.impact) == (True, True, Impact.NONE)
    assert lines(found)[0] == "module 'web' is new; it is added and not started"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("The shop", "A shop", [("change", "description", "nothing", ("The shop -> A shop",))]),
        (
            "port: 80",
            "port: 80, interval: 2s",
            [("change", "checker lighthouse.80", "live", ("interval: 10s -> 2s",))],
        ),
        (
            "port: 80",
            "port: 80, when: sec",
            [("change", "checker lighthouse.80", "live", ("when: nothing -> sec", "scope: prim -> sec"))],
        ),
        (
            "then restart",
            "for 5s then stop",
            [
                (
                    "change",
                    "rule r",
                    "live",
                    (
                        "rule: r: if (lighthouse.80 == unknown) then restart; -> "
                        "r: if (lighthouse.80 == unknown) for 5s then stop;",
                    ),
                )
            ],
        ),
        ("kind: mirror\n", "kind: mirror\nboot: on\n", [("change", "boot", "live", ("auto -> on",))]),
        (
            "kind: mirror\n",
            "kind: mirror\nheartbeat: {lost_after: 3s}\n",
            [("change", "heartbeat", "live", ("lost_after: 1s -> 3s",))],
        ),
        (
            "address: 10.0.0.9/24",
            "address: 10.0.0.9/16",
            [("change", "step drawbridge.10.0.0.9", "step", ("address: 10.0.0.9/24 -> 10.0.0.9/16",))],
        ),
        (
            "address: 10.0.0.9/24",
            "address: 10.0.0.8/24",
            [("remove", "step drawbridge.10.0.0.9", "step", ()), ("add", "step drawbridge.10.0.0.8", "step", ())],
        ),
        (
            "  - drawbridge: {address: 10.0.0.9/24}\n  - harbour: {}\n",
            "  - harbour: {}\n  - drawbridge: {address: 10.0.0.9/24}\n",
            [("move", "order of steps", "live", ("harbour.default -> drawbridge.10.0.0.9",))],
        ),
        (
            "{address: 10.0.0.9/24}",
            "{address: 10.0.0.9/24, when: both}",
            [
                (
                    "change",
                    "step drawbridge.10.0.0.9",
                    "step",
                    ("when: nothing -> both", "on while prim -> both"),
                )
            ],
        ),
        (
            "address: 10.0.0.9/24",
            "address: 10.0.0.9/24, stop_timeout: 5s",
            [("change", "step drawbridge.10.0.0.9", "live", ("stop_timeout: 1m -> 5s",))],
        ),
        (
            "COLOUR: red",
            "COLOUR: blue",
            [
                ("change", "variables", "live", ("COLOUR: red -> blue",)),
                ("change", "step drawbridge.10.0.0.9", "step", ("the variables changed",)),
                ("change", "step harbour.default", "step", ("the variables changed",)),
            ],
        ),
        (
            "kind: mirror\n",
            "kind: mirror\nnodes: [n2, n1]\n",
            [("move", "order of nodes", "module", ("n1, n2 -> n2, n1",))],
        ),
        ("kind: mirror\n", "kind: mirror\nnodes: [n1]\n", [("remove", "node n2", "module", ())]),
    ],
)
def test_each_change_is_told_with_what_it_interrupts(old: str, new: str, expected: Any) -> None:
    assert shown(plan(old, new)) == expected


def test_another_kind_interrupts_the_module() -> None:
    found = plan("kind: mirror", "kind: farm")
    assert ("change", "kind", "module", ("mirror -> farm",)) in shown(found)
    assert lines(found)[0] == "module 'web': is interrupted: it is stopped on all its nodes, and started again"


@pytest.mark.parametrize(("kind", "impact"), [("farm", "live"), ("light", "live"), ("mirror", "module")])
def test_a_node_that_is_added_interrupts_nobody_but_a_mirror(kind: str, impact: str) -> None:
    text = BASE.replace("kind: mirror", f"kind: {kind}")
    assert shown(diff(compiled(text, ("n1",)), compiled(text, ("n1", "n2")))) == [("add", "node n2", impact, ())]


def test_a_step_on_which_others_stand_interrupts_the_module() -> None:
    before, after = compiled(BASE), compiled(BASE.replace("10.0.0.9/24", "10.0.0.9/16"))
    steps = (before.steps[0].model_copy(update={"bears": True}), *before.steps[1:])
    assert diff(before.model_copy(update={"steps": steps}), after).impact is Impact.MODULE


def test_the_impact_of_all_is_the_worst_of_each() -> None:
    found = plan("  - harbour: {}\ncheckers:\n", "checkers:\n  - lighthouse: {port: 81}\n")
    assert {change.impact for change in found.changes} == {Impact.LIVE, Impact.STEP}
    assert found.impact is Impact.STEP


def test_the_text_names_each_step_that_is_interrupted() -> None:
    found = plan("address: 10.0.0.9/24", "address: 10.0.0.9/16")
    text = lines(found)
    assert text[:-1] == [
        "module 'web': changes while it runs; only the steps named are interrupted",
        "  ~ step drawbridge.10.0.0.9 (this step is interrupted)",
        "      address: 10.0.0.9/24 -> 10.0.0.9/16",
        *(f"  {told}" for told in found.latencies),
        "  a start takes at most 80s",
        "  a stop ends within 3m, by force if need be",
    ]


SPEAKING = """
    from safekit_sdk import Resource, ResourceConfig, ResourceState, Status

    class Speaking(Resource[ResourceConfig], api=1):
        async def start(self): ...
        async def stop(self, force): ...
        async def status(self):
            return Status(ResourceState.STOPPED)

        @classmethod
        def remarks(cls, config, kind):
            return [f"{config.name} is of a {kind}"]
"""
TALK = "kind: farm\npipeline: [{speaking: {name: talk}}]\n"


def add_speaking(distributions: Any, source: str = SPEAKING) -> None:
    distributions.add("safekit-resource-speaking", source, {"safekit.resources": {"speaking": "Speaking"}})


def test_what_a_plugin_says_of_its_settings_is_told_and_makes_no_difference(distributions: Any) -> None:
    add_speaking(distributions)
    speaking = compiled(TALK)
    silent = speaking.model_copy(update={"remarks": ()})
    assert speaking.remarks == ("speaking.talk: talk is of a farm",)
    assert "  speaking.talk: talk is of a farm" in lines(diff(None, speaking))
    assert diff(None, speaking).warnings == ()
    assert signature(speaking) == signature(silent)
    assert not diff(silent, speaking).changed


@pytest.mark.parametrize("wrong", ['"one sentence"', '["x" * 401]', '["x"] * 9', "[1]", "[1 / 0]"])
def test_remarks_that_are_none_are_the_plugins_mistake(distributions: Any, wrong: str) -> None:
    add_speaking(distributions, SPEAKING.replace('[f"{config.name} is of a {kind}"]', wrong))
    with pytest.raises(ConfigErrors, match=r"package safekit-resource-speaking 1\.0\): its remarks cannot be had"):
        compiled(TALK)


def test_a_plan_survives_its_json() -> None:
    found = plan("port: 80", "port: 80, fall: 2")
    content = found.model_dump(mode="json")
    assert (content["changed"], content["impact"]) == (True, "live")
    assert Plan.model_validate({key: content[key] for key in Plan.model_fields}) == found


LEASE = CompiledWitness(
    plugin="post", ident="default", config={}, effective={}, lease_s=10.0, timeout_s=2.0, exclusive=True
)


def fencing(text: str, **changes: Any) -> CompiledModule:
    """With a step that cuts the other node's power within 2 minutes."""
    module = compiled(text)
    step = CompiledStep(
        plugin="fence",
        group="resource",
        ident="fence_x",
        config={},
        effective={},
        scopes=("both",),
        start_bound_s=120.0,
        stop_bound_s=0.0,
    )
    return module.model_copy(update={"steps": (step, *module.steps), "fences": True, **changes})


SAFETY = "isolation is 'safety' and there is no witness"
AVAILABILITY = "isolation is 'availability' and there is no witness"


class TestWarnings:
    def _found(
        self,
        text: str,
        nodes: tuple[str, ...] = ("n1", "n2"),
        networks: int | None = None,
        witness: CompiledWitness | None = None,
    ) -> list[str]:
        module = compiled(text, nodes).model_copy(update={"witness": witness})
        return [warning[:50] for warning in diff(None, module, networks=networks).warnings]

    def test_a_mirror_without_a_witness_is_told_what_its_policy_means(self) -> None:
        assert self._found(BASE) == [(SAFETY + ": after a crash")[:50]]
        text = BASE.replace("kind: mirror", "kind: mirror\nisolation: availability")
        assert self._found(text) == [(AVAILABILITY + ": when")[:50]]

    def test_a_witness_settles_it(self) -> None:
        assert self._found(BASE, witness=LEASE) == []

    def test_a_witness_that_stands_on_another_line_is_no_other_one(self) -> None:
        before, after = (
            compiled(BASE).model_copy(update={"witness": LEASE.model_copy(update={"origin": place})})
            for place in ("module.yaml:2:3", "module.yaml:9:3")
        )
        assert signature(before) == signature(after)
        assert not diff(before, after).changed

    def test_a_witness_that_rules_out_less_says_so(self) -> None:
        seeing = LEASE.model_copy(update={"exclusive": False})
        assert self._found(BASE, witness=seeing) == ["the witness 'post' sees that a node is isolated; i"]

    @pytest.mark.parametrize(
        ("isolation", "witness", "warnings"),
        [
            ("safety", None, []),
            ("availability", None, [(AVAILABILITY + ": a lost")[:50]]),
            ("safety", LEASE.model_copy(update={"exclusive": False}), []),
        ],
    )
    def test_fencing_settles_it_too_except_for_who_starts_under_availability(
        self, isolation: str, witness: CompiledWitness | None, warnings: list[str]
    ) -> None:
        module = fencing(BASE.replace("kind: mirror", f"kind: mirror\nisolation: {isolation}"), witness=witness)
        assert [warning[:50] for warning in diff(None, module).warnings] == warnings

    def test_a_mirror_of_one(self) -> None:
        assert self._found(BASE, ("n1",)) == ["it has one node, n1: nothing can take over"]

    def test_a_single_network(self) -> None:
        assert self._found(BASE, networks=1, witness=LEASE) == ["all heartbeats take one network: its failure looks"]
        assert self._found(BASE, networks=2, witness=LEASE) == []
        assert self._found(BASE, ("n1",), networks=1, witness=LEASE) == ["it has one node, n1: nothing can take over"]

    def test_a_hasty_loss_time(self) -> None:
        text = BASE.replace("kind: mirror", "kind: mirror\nheartbeat: {lost_after: 300ms}")
        assert self._found(text, witness=LEASE) == ["heartbeat.lost_after is 300ms: a node that is only"]

    def test_what_the_compiler_found(self) -> None:
        assert self._found("kind: farm\n") == ["web/module.yaml: the pipeline is empty: nothing is "[:50]]


STOP = "a stop ends within 3m, by force if need be"


@pytest.mark.parametrize(
    ("kind", "witness", "bounds"),
    [
        ("mirror", False, ("a start takes at most 80s", STOP)),
        (
            "mirror",
            True,
            (
                "take-over after a crash: its lease runs out within 14500ms, then at most 80s to start: within 94500ms",
                "a primary that reaches neither its peer nor the witness is stopped by force after 5s",
                STOP,
            ),
        ),
        (
            "mirror\nisolation: availability",
            False,
            ("take-over after a crash: noticed after 1s, then at most 80s to start: within 81s", STOP),
        ),
        (
            "farm",
            False,
            (
                "a start takes at most 80s",
                "a lost node's share goes to the others 1s after its last heartbeat",
                STOP,
            ),
        ),
    ],
)
def test_the_bounds_promise_a_take_over_only_where_there_is_one(
    kind: str, witness: bool, bounds: tuple[str, ...]
) -> None:
    module = compiled(BASE.replace("kind: mirror", f"kind: {kind}"))
    assert diff(None, module.model_copy(update={"witness": LEASE if witness else None})).bounds == bounds


AGAIN = "while a lost node cannot be fenced nothing is taken over from it; it is tried again every 10s"


@pytest.mark.parametrize(
    ("changes", "bounds"),
    [
        (
            {},
            (
                "take-over after a crash: noticed after 1s, then at most 2m to fence it and 80s to start: within 201s, "
                "if the first attempt to fence succeeds",
                AGAIN,
                STOP,
            ),
        ),
        (
            {"witness": LEASE},
            (
                "take-over after a crash: its lease runs out within 14500ms, then at most 2m to fence it and 80s to "
                "start: within 214500ms, if the first attempt to fence succeeds",
                "a primary that reaches neither its peer nor the witness is stopped by force after 5s",
                AGAIN,
                STOP,
            ),
        ),
        (
            {"has_data": True},
            (
                "take-over after a crash: noticed after 6s, then at most 2m to fence it and 80s to start: within 206s, "
                "if the first attempt to fence succeeds",
                AGAIN,
                "a primary that loses its secondary acknowledges no write until that one is fenced: at most 121s",
                STOP,
            ),
        ),
    ],
)
def test_fencing_is_a_part_of_the_take_over(changes: dict[str, Any], bounds: tuple[str, ...]) -> None:
    assert diff(None, fencing(BASE, **changes)).bounds == bounds


def test_a_fencing_plugin_by_another_name_is_bounded_by_the_whole_pipeline() -> None:
    module = fencing(BASE)
    steps = tuple(step.model_copy(update={"plugin": "guillotine"}) for step in module.steps[:1])
    told = diff(None, module.model_copy(update={"steps": steps + module.steps[1:]})).bounds[0]
    assert "at most 200s to fence it and 200s to start: within 401s" in told
