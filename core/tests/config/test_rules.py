"""Rules: text to tree and back, and what is said about a text that is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from safekit.config.compiled import CompiledRule
from safekit.config.rules import ACTIONS, MAX_CHARACTERS, MAX_NESTING, VALUES, parse, to_text
from safekit.engine.rules import All, Any, Expression, Not, Rule, comparisons
from safekit.engine.rules import Test as Comparison
from safekit_sdk import ConfigError, InternalError


def local(resource: str, value: str = "down", *, negated: bool = False) -> Comparison:
    resource_class, _, ident = resource.partition(".")
    return Comparison("local", resource_class, ident, value, negated)


A, B, C = local("a.x"), local("b.y", "up"), local("c.z", "up", negated=True)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a.x == down", A),
        ("(a.x==down)", A),
        ("local.a.x == down", A),
        ("remote.a.x == down", replace(A, side="remote")),
        ("c.z != up", C),
        ("a.x == down && b.y == up", All((A, B))),
        ("a.x == down || b.y == up && c.z != up", Any((A, All((B, C))))),
        ("(a.x == down || b.y == up) && c.z != up", All((Any((A, B)), C))),
        ("a.x == down && b.y == up && c.z != up", All((A, B, C))),
        ("a.x == down && (b.y == up && c.z != up)", All((A, All((B, C))))),
        ("!a.x == down", Not(A)),
        ("!(a.x == down) || b.y == up", Any((Not(A), B))),
        ("!!(a.x == down)", Not(Not(A))),
        ("ping.* == down", local("ping.*")),
        ("ping.? == down", local("ping.?")),
        ("tcp.10.0.0.1:80 == down", local("tcp.10.0.0.1:80")),
        ("nft-lb.fe80::1 == down", local("nft-lb.fe80::1")),
        ("remote.remote.x == up", None),
    ],
)
def test_a_condition_is_read_with_the_precedence_of_c(text: str, tree: Expression | None) -> None:
    rule = f"label: if ({text}) then stop;"
    if tree is None:
        with pytest.raises(ConfigError):
            parse(rule)
    else:
        assert parse(rule).condition == tree


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l: if (a.x == down) then restart", Rule("l", A, "restart", "l: if (a.x == down) then restart;")),
        ("l:if a.x==down then stop;", Rule("l", A, "stop", "l: if (a.x == down) then stop;")),
        (" l : if(a.x==down)then swap ; ", Rule("l", A, "swap", "l: if (a.x == down) then swap;")),
        (
            "tcp_10.0.0.1:80: if (a.x == down) then wait",
            Rule("tcp_10.0.0.1:80", A, "wait", "tcp_10.0.0.1:80: if (a.x == down) then wait;"),
        ),
        (
            "l: if (a.x == down) for 1m30s then stopstart",
            Rule("l", A, "stopstart", "l: if (a.x == down) for 90s then stopstart;", 90.0),
        ),
        (
            "l: if (a.x == down)\n  for 250ms\n  then stop",
            Rule("l", A, "stop", "l: if (a.x == down) for 250ms then stop;", 0.25),
        ),
    ],
)
def test_a_rule_is_read_and_its_text_made_canonical(text: str, expected: Rule) -> None:
    assert parse(text) == expected


def test_a_rule_knows_where_it_stands() -> None:
    assert parse("l: if (a.x == down) then stop", "web/module.yaml:9:5").origin == "web/module.yaml:9:5"


EXAMPLE = "a rule reads: label: if (class.name == down) then restart"


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("", 1, "the rule ends too early: expected a label with ':' after it", EXAMPLE),
        ("if (a.x == down) then stop", 1, "expected a label with ':' after it, found 'if'", EXAMPLE),
        ("l: when (a.x == down) then stop", 4, "expected 'if', found 'when'", EXAMPLE),
        ("l: if", 5, "the rule ends too early: expected '(', '!' or a resource, as class.name", EXAMPLE),
        ("l: if () then stop", 8, "expected '(', '!' or a resource, as class.name, found ')'", EXAMPLE),
        ("l: if (a.x = down) then stop", 12, "expected '==' or '!=', found '='", EXAMPLE),
        ("l: if (a.x == down & b.y == up) then stop", 20, "expected ')', '&&' or '||', found '&'", EXAMPLE),
        ("l: if (a.x == down then stop", 20, "expected ')', found 'then'", EXAMPLE),
        (
            "l: if (a.x == down) restart",
            21,
            "expected '&&', '||', 'for' with a time or 'then', found 'restart'",
            EXAMPLE,
        ),
        (
            "l: if (a.x == down) then",
            24,
            f"the rule ends too early: expected an action ({', '.join(ACTIONS)})",
            EXAMPLE,
        ),
        ("l: if (a.x == down) then stop now", 31, "expected ';' or the end of the rule, found 'now'", EXAMPLE),
        ("l: if (a.x == down) then stop; m: if", 32, "expected the end of the rule, found 'm:'", EXAMPLE),
        ("l: if (a.x == down) then resart", 26, "unknown action 'resart'", "did you mean 'restart'?"),
        ("l: if (a.x == down) then reboot", 26, "unknown action 'reboot'", f"actions: {', '.join(ACTIONS)}"),
        ("l: if (a.x == dwon) then stop", 15, "unknown value 'dwon'", "did you mean 'down'?"),
        ("l: if (a.x == broken) then stop", 15, "unknown value 'broken'", f"values: {', '.join(VALUES)}"),
        (
            "l: if (ax == down) then stop",
            8,
            "'ax' is not a resource",
            "write class.name, class.* or class.?, with local. or remote. before it",
        ),
        (
            "l: if (a.x == down) for 5 then stop",
            25,
            "'5' is not a duration; write a number and a unit (us, ms, s, m, h, d): 500ms",
            "",
        ),
    ],
)
def test_what_is_no_rule_is_told_with_the_column_and_what_belongs_there(
    text: str, column: int, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, locate=lambda offset: f"column {offset + 1}")
    assert (caught.value.where, caught.value.message, caught.value.hint) == (f"column {column}", message, hint)


def test_the_length_of_a_rule_is_bounded() -> None:
    text = "l: if (a.x == down) then stop".ljust(MAX_CHARACTERS)
    assert parse(text).label == "l"
    with pytest.raises(ConfigError, match=f"has {MAX_CHARACTERS + 1} characters"):
        parse(text + " ")


@pytest.mark.parametrize("opening", ["(", "!", "! ", "!(", "( "])
def test_the_nesting_of_a_rule_is_bounded(opening: str) -> None:
    def nested(levels: int) -> str:
        return f"l: if ({opening * levels}a.x == down{')' * levels * opening.count('(')}) then stop"

    assert parse(nested(MAX_NESTING - 2)).label == "l"
    with pytest.raises(ConfigError, match=f"nested deeper than {MAX_NESTING} levels"):
        parse(nested(MAX_NESTING + 1))


def test_many_negations_beside_each_other_are_no_nesting() -> None:
    terms = " && ".join(["!a.x == down"] * 60)
    assert len(list(comparisons(parse(f"l: if ({terms}) then stop").condition))) == 60


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,10}", fullmatch=True).filter(lambda n: n not in {"local", "remote"})
idents = st.one_of(st.sampled_from("*?"), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,12}", fullmatch=True))
leaves = st.builds(
    Comparison, st.sampled_from(["local", "remote"]), names, idents, st.sampled_from(VALUES), st.booleans()
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Any, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=10,
)
rules = st.builds(
    Rule,
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,12}", fullmatch=True),
    trees,
    st.sampled_from(ACTIONS),
    hold_s=st.floats(0, 1e8),
)


@given(rules)
def test_a_printed_rule_parses_to_the_same_tree(rule: Rule) -> None:
    text = to_text(rule)
    assume(len(text) <= MAX_CHARACTERS)
    assert parse(text) == replace(rule, text=text)


@given(rules)
def test_a_rule_survives_the_compiled_form(rule: Rule) -> None:
    compiled = CompiledRule.of(rule)
    assert CompiledRule.model_validate_json(compiled.model_dump_json()).to_rule() == rule


@given(st.text(alphabet="abx.:*?!&|=()<> ;ifthenfor5sdownup\n", max_size=80))
def test_no_text_gets_past_the_one_error_class(text: str) -> None:
    try:
        rule = parse(text)
    except ConfigError as error:
        assert error.message
    else:
        assert parse(rule.text) == rule


@pytest.mark.parametrize("tree", [[], ["~", []], ["local", "a", "x", "=", "up"], ["!", "a"], ["&&", "a"]])
def test_a_compiled_tree_of_another_version_is_refused(tree: list[object]) -> None:
    rule = CompiledRule(label="l", condition=tree, action="stop", text="")
    with pytest.raises(InternalError):
        rule.to_rule()
