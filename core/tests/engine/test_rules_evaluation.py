"""Whether a rule is true, and by what."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safekit.engine import rules
from safekit.engine.rules import All, Any, Count, Expression, Named, Not, evidence, holds


def is_(name: str, value: str = "down", *, negated: bool = False, side: str = "local") -> rules.Test:
    resource_class, _, ident = name.partition(".")
    return rules.Test(side, resource_class, ident, value, negated)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (is_("http.home"), True),
        (is_("http.home", negated=True), False),
        (is_("http.home", "up"), False),
        (is_("http.none", "unknown"), True),
        (is_("http.none"), False),
        (is_("http.home", side="remote"), False),
        (is_("http.*"), False),
        (is_("http.?"), True),
        (is_("ftp.*", "unknown"), True),
        (Not(is_("http.home")), False),
        (All((is_("http.home"), is_("tcp.db", "up"))), True),
        (All((is_("http.home"), is_("tcp.db"))), False),
        (Any((is_("tcp.db"), is_("http.home"))), True),
        (Any(()), False),
        (Count(2, (is_("http.*"), is_("tcp.db"))), False),
        (Count(1, (is_("http.*"), is_("tcp.db"))), True),
        (Count(2, (is_("http.*", negated=True), is_("tcp.db", negated=True))), True),
        (Count(2, (is_("http.home"), is_("http.*"))), False),
        (Count(1, (is_("ftp.*", "unknown"),)), True),
        (Named("broken", is_("http.home")), True),
        (Not(Named("broken", is_("http.home"))), False),
    ],
)
def test_an_expression_is_true_of_the_local_values(expression: object, expected: bool) -> None:
    values = {"http.home": "down", "http.api": "up", "tcp.db": "up"}
    assert holds(expression, values) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (is_("http.home", side="remote"), False),
        (is_("http.home", "up", side="remote"), True),
        (is_("http.*", "up", side="remote"), True),
        (is_("tcp.db", "unknown", side="remote"), True),
        (All((is_("http.home"), is_("http.home", "up", side="remote"))), True),
        (Count(1, (is_("http.home"), is_("http.home", side="remote"))), True),
        (Count(2, (is_("http.home"), is_("http.home", side="remote"))), False),
    ],
)
def test_an_expression_is_true_of_the_other_nodes_values(expression: Expression, expected: bool) -> None:
    assert holds(expression, {"http.home": "down", "tcp.db": "up"}, {"http.home": "up"}) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (is_("http.home"), {"http.home": "down"}),
        (is_("http.?"), {"http.home": "down"}),
        (is_("http.*"), {"http.api": "up"}),
        (Any((is_("tcp.db"), is_("http.home"))), {"http.home": "down"}),
        (All((is_("tcp.db"), is_("http.home"))), {"tcp.db": "up"}),
        (Not(is_("tcp.db")), {"tcp.db": "up"}),
        (Count(1, (is_("http.*"), is_("tcp.db"))), {"http.home": "down"}),
        (Count(2, (is_("http.*"), is_("tcp.db"))), {"http.api": "up", "tcp.db": "up"}),
        (Named("broken", is_("http.home")), {"http.home": "down"}),
        (is_("http.home", "unknown", side="remote"), {"remote.http.home": "unknown"}),
    ],
)
def test_the_evidence_is_what_makes_it_so(expression: Expression, expected: dict[str, str]) -> None:
    assert evidence(expression, {"http.home": "down", "http.api": "up", "tcp.db": "up"}) == expected


value_words = st.sampled_from(["init", "down", "up", "unknown", "", "half"])
some_values = st.dictionaries(st.sampled_from(["a.x", "a.y", "b.x", "b", "remote.a.x", "a."]), value_words)
leaves = st.builds(
    rules.Test,
    st.sampled_from(["local", "remote"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["x", "y", "*", "?"]),
    value_words,
    st.booleans(),
)
expressions = st.recursive(
    leaves | st.builds(Count, st.integers(-1, 4), st.lists(leaves, max_size=4).map(tuple)),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Named, st.just("n"), inner),
        st.builds(All, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Any, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=12,
)


@given(expressions, some_values, some_values)
def test_evaluation_is_total_and_pure(expression: Expression, local: dict[str, str], remote: dict[str, str]) -> None:
    before = deepcopy((expression, local, remote))
    truth = holds(expression, local, remote)
    assert truth is holds(expression, dict(reversed(local.items())), remote)
    assert holds(Not(expression), local, remote) is not truth
    assert holds(All((expression, expression)), local, remote) is holds(Any((expression,)), local, remote) is truth
    seen = evidence(expression, local, remote)
    assert set(seen) <= {n for t in rules.comparisons(expression) for n in rules.observed(t, local, remote)}
    assert (expression, local, remote) == before


@given(expressions, some_values)
def test_what_is_no_evidence_changes_nothing(expression: Expression, local: dict[str, str]) -> None:
    """Of a named resource; a class that is asked for as a whole is another thing without one of its members."""
    truth, seen = holds(expression, local), evidence(expression, local)
    if any(test.ident in {"*", "?"} for test in rules.comparisons(expression)):
        return
    for name in set(local) - set(seen):
        assert holds(expression, {**local, name: "half"}) is truth
