"""Rules: text to tree and back, and what is said about a text that is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from safekit.config.compiled import CompiledRule
from safekit.config.rules import (
    ACTIONS,
    MAX_CHARACTERS,
    MAX_COMPARISONS,
    MAX_NESTING,
    VALUES,
    expression_text,
    parse,
    parse_condition,
    to_text,
)
from safekit.engine.events import Configured
from safekit.engine.rules import All, Any, Count, Expression, Named, Not, Rule, comparisons
from safekit.engine.rules import Test as Comparison
from safekit.engine.spec import Kind, MembershipSpec, ModuleSpec
from safekit.journal.codec import dump_event, load_event
from safekit_sdk import ConfigError, InternalError


def local(resource: str, value: str = "down", *, negated: bool = False) -> Comparison:
    resource_class, _, ident = resource.partition(".")
    return Comparison("local", resource_class, ident, value, negated)


A, B, C = local("a.x"), local("b.y", "up"), local("c.z", "up", negated=True)

REMOTE = Comparison("remote", "a", "x", "up", negated=True)
BROKEN = Any((A, C))
CONDITIONS: dict[str, Expression] = {"broken": BROKEN, "over": A}


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
        ("2 of (a.x, b.y) == down", Count(2, (A, local("b.y")))),
        ("1 of(a.x)==down", Count(1, (A,))),
        ("2 of (tcp.*, remote.a.x) != up", Count(2, (local("tcp.*", "up", negated=True), REMOTE))),
        ("!2 of (a.*) == down && b.y == up", All((Not(Count(2, (local("a.*"),))), B))),
        ("broken", Named("broken", BROKEN)),
        ("broken && !over", All((Named("broken", BROKEN), Not(Named("over", A))))),
        ("remote.remote.x == up", None),
    ],
)
def test_a_condition_is_read_with_the_precedence_of_c(text: str, tree: Expression | None) -> None:
    rule = f"label: if ({text}) then stop;"
    if tree is None:
        with pytest.raises(ConfigError):
            parse(rule)
    else:
        assert parse(rule, conditions=CONDITIONS).condition == tree


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
NO_RESOURCE = "write class.name, class.* or class.?, with local. or remote. before it"


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
            NO_RESOURCE,
        ),
        ("l: if (broke) then stop", 8, "there is no condition 'broke'", "did you mean 'broken'?"),
        ("l: if (overr == up) then stop", 8, "'overr' is not a resource", NO_RESOURCE),
        (
            "l: if (over == up) then stop",
            8,
            "'over' is a condition, which has no value",
            "write over alone, or !over",
        ),
        ("l: if (3 of (a.x, a.y) == down) then stop", 8, "3 of 2 cannot be", "a number from 1 to 2"),
        ("l: if (0 of (a.*) == down) then stop", 8, "0 of 1 cannot be", f"a number from 1 to {MAX_COMPARISONS}"),
        ("l: if (1 of (a.?) == down) then stop", 14, "'a.?' is not counted", "a.*"),
        ("l: if (1 of (a.x, a.x) == down) then stop", 14, "'a.x' is here twice", "remove one"),
        ("l: if (2 of a.x == down) then stop", 13, "expected '(', found 'a.x'", EXAMPLE),
        ("l: if (2 of (a.x b.y) == down) then stop", 18, "expected ',' or ')', found 'b.y'", EXAMPLE),
        ("l: if (2 of () == down) then stop", 14, "expected a resource, as class.name, found ')'", EXAMPLE),
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
        parse(text, locate=lambda offset: f"column {offset + 1}", conditions=CONDITIONS)
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


def test_conditions_in_conditions_have_an_end() -> None:
    """Ten texts of a few characters each could be a thousand comparisons."""
    known: dict[str, Expression] = {"c0": A}
    with pytest.raises(ConfigError, match=r"512 comparisons, named conditions included; the limit is 300"):
        for number in range(1, 20):
            known[f"c{number}"] = parse_condition(f"c{number - 1} && c{number - 1}", conditions=known)
    assert len(known) == 9


def test_conditions_in_conditions_are_not_nested_without_end() -> None:
    known: dict[str, Expression] = {"c0": A}
    with pytest.raises(ConfigError, match="levels deep; the limit is 150"):
        for number in range(1, 100):
            known[f"c{number}"] = parse_condition(f"!!c{number - 1}", conditions=known)


def test_what_is_no_condition_is_told_as_such() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_condition("a.x == down then stop", "f:3")
    assert caught.value.where == "f:3:column 13"
    assert caught.value.message == "expected the end of the condition, found 'then'"


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,10}", fullmatch=True).filter(lambda n: n not in {"local", "remote"})
plain_idents = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,12}", fullmatch=True)
idents = st.one_of(st.sampled_from("*?"), plain_idents)
sides = st.sampled_from(["local", "remote"])
leaves = st.builds(Comparison, sides, names, idents, st.sampled_from(VALUES), st.booleans())


@st.composite
def counts(draw: st.DrawFn) -> Count:
    references = st.tuples(sides, names, st.one_of(st.just("*"), plain_idents))
    drawn = draw(st.lists(references, min_size=1, max_size=4, unique=True))
    value, negated = draw(st.sampled_from(VALUES)), draw(st.booleans())
    least = draw(st.integers(1, len(drawn)))
    return Count(least, tuple(Comparison(*reference, value, negated) for reference in drawn))


def trees(conditions: st.SearchStrategy[Expression] | None = None) -> st.SearchStrategy[Expression]:
    return st.recursive(
        st.one_of(leaves, counts(), *([] if conditions is None else [conditions])),
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.builds(All, st.lists(inner, min_size=2, max_size=3).map(tuple)),
            st.builds(Any, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        ),
        max_leaves=10,
    )


labels = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,12}", fullmatch=True)


@st.composite
def rules_with_conditions(draw: st.DrawFn) -> tuple[Rule, dict[str, Expression]]:
    defined = draw(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True), trees(), max_size=3))
    named = st.sampled_from([Named(*item) for item in defined.items()]) if defined else None
    rule = Rule(draw(labels), draw(trees(named)), draw(st.sampled_from(ACTIONS)), hold_s=draw(st.floats(0, 1e8)))
    return rule, defined


@given(rules_with_conditions())
def test_a_printed_rule_parses_to_the_same_tree(drawn: tuple[Rule, dict[str, Expression]]) -> None:
    rule, conditions = drawn
    text = to_text(rule)
    assume(len(text) <= MAX_CHARACTERS)
    assume(len(list(comparisons(rule.condition))) <= MAX_COMPARISONS)
    assert parse(text, conditions=conditions) == replace(rule, text=text)
    assert parse_condition(expression_text(rule.condition), conditions=conditions) == rule.condition


@given(rules_with_conditions())
def test_a_rule_survives_the_compiled_form(drawn: tuple[Rule, dict[str, Expression]]) -> None:
    compiled = CompiledRule.of(drawn[0])
    assert CompiledRule.model_validate_json(compiled.model_dump_json()).to_rule() == drawn[0]


@given(rules_with_conditions())
def test_a_rule_survives_the_journal(drawn: tuple[Rule, dict[str, Expression]]) -> None:
    """A replay must have the rules that there were: `||` and `&&` look alike in JSON if one is not careful."""
    module = ModuleSpec("web", Kind.MIRROR, ("n1", "n2"), rules=(drawn[0],))
    event = Configured(MembershipSpec("n1", ("n2",), ("net",)), (module,))
    assert load_event(*dump_event(event)) == event


TEXTS = "l: if then for of ( ) ! && || == != a.x tcp.* b.? remote. local.c.y broken over 2 17 5s down up stop ; , . *"
words = st.sampled_from(TEXTS.split())
noise = st.text(alphabet="abx.:*?!&|=()<>, ;ifthenfor5sdownup\n", max_size=80)


@given(st.one_of(st.lists(words, max_size=25).map(" ".join), noise, st.text(max_size=40)))
def test_no_text_gets_past_the_one_error_class_nor_is_without_a_place(text: str) -> None:
    for read in (parse, parse_condition):
        try:
            found = read(text, "file", None, CONDITIONS)
        except ConfigError as error:
            column = int(error.where.removeprefix("file:column "))
            assert 1 <= column <= max(len(text), 1)
            assert error.message
        else:
            again = found.text if isinstance(found, Rule) else expression_text(found)
            assert read(again, "file", None, CONDITIONS) == found


@pytest.mark.parametrize(
    "tree", [[], ["~", []], ["local", "a", "x", "=", "up"], ["!", "a"], ["&&", "a"], ["of", "2"], ["is", "x", "y"]]
)
def test_a_compiled_tree_of_another_version_is_refused(tree: list[object]) -> None:
    rule = CompiledRule(label="l", condition=tree, action="stop", text="")
    with pytest.raises(InternalError):
        rule.to_rule()


def test_a_message_goes_with_the_rule() -> None:
    rule = replace(parse("l: if (a.x == down) then stop"), message="the disk is gone")
    assert CompiledRule.of(rule).to_rule() == rule
