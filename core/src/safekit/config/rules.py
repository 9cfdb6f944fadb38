"""Failover rules, text to tree and back. The grammar is SafeKit's (§13.19), with `for 5s`, counts and named conditions:

`label: if (http.home == down && 2 of (tcp.*) == down && !maintenance) for 5s then restart;`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any as Anything
from typing import Final, NoReturn

from lark import Lark, Token, Transformer, Tree, v_args
from lark.exceptions import UnexpectedInput, UnexpectedToken, VisitError

from safekit.config.problems import did_you_mean
from safekit.engine.rules import ALL as EVERY
from safekit.engine.rules import ANY, All, Any, Count, Expression, Named, Not, Rule, Test, parts
from safekit_sdk import ConfigError, Duration

ACTIONS: Final = ("stop", "stopstart", "wait", "restart", "swap")
VALUES: Final = ("init", "down", "up", "unknown")
MAX_CHARACTERS: Final = 2000
MAX_NESTING: Final = 32
MAX_COMPARISONS: Final = 300
"""In one rule, those of the named conditions in it included."""
MAX_DEPTH: Final = 150
Conditions = Mapping[str, Expression]
NO_CONDITIONS: Final[Conditions] = MappingProxyType({})
Locate = Callable[[int], str]
"""From a position in the rule's text to `file:line:column`."""

_GRAMMAR: Final = r"""
rule: LABEL ":" IF either [FOR SPAN] THEN ACTION [";"]
condition: either
?either: both (OR both)*
?both: term (AND term)*
?term: NOT term -> negate
     | "(" either ")" -> group
     | NUMBER OF "(" REFERENCE ("," REFERENCE)* ")" OPERATOR VALUE -> count
     | REFERENCE OPERATOR VALUE -> test
     | NAME -> named
     | NAME OPERATOR VALUE -> test
LABEL: /[A-Za-z0-9_][A-Za-z0-9_.:-]*(?=\s*:)/
NUMBER.3: /[0-9]+(?=\s+of[\s(])/
REFERENCE.2: /[A-Za-z0-9_*?-][A-Za-z0-9_:*?-]*\.[A-Za-z0-9_.:*?-]*/
NAME: /[A-Za-z0-9_*?-][A-Za-z0-9_:*?-]*/
OPERATOR: "==" | "!="
VALUE: /[A-Za-z_][A-Za-z0-9_-]*/
ACTION: /[A-Za-z_][A-Za-z0-9_-]*/
SPAN: /[0-9][0-9.a-z]*/
IF: /if\b/
OF: /of\b/
FOR: /for\b/
THEN: /then\b/
AND: "&&"
OR: "||"
NOT: "!"
%ignore /\s+/
"""
_IN_WORDS: Final = {
    "LABEL": "a label with ':' after it",
    "COLON": "':'",
    "IF": "'if'",
    "LPAR": "'('",
    "NOT": "'!'",
    "REFERENCE": "a resource, as class.name",
    "OPERATOR": "'==' or '!='",
    "VALUE": f"a value ({', '.join(VALUES)})",
    "OF": "'of'",
    "COMMA": "','",
    "RPAR": "')'",
    "AND": "'&&'",
    "OR": "'||'",
    "FOR": "'for' with a time",
    "SPAN": "a time, as 5s",
    "THEN": "'then'",
    "ACTION": f"an action ({', '.join(ACTIONS)})",
    "SEMICOLON": "';'",
    "$END": "the end",
}
"""What may be a condition's name or a count is told as a resource only: they are rare."""
_EXAMPLES: Final = {
    "rule": "a rule reads: label: if (class.name == down) then restart",
    "condition": "a condition reads: class.name == down && class.* != up",
}
_REFERENCE: Final = re.compile(
    r"(?:(?P<side>local|remote)\.)?(?P<cls>[A-Za-z0-9_][A-Za-z0-9_-]*)\."
    r"(?P<ident>[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}|\*|\?)"
)


class _RuleError(Exception):
    def __init__(self, message: str, position: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.hint = hint


def parse(text: str, origin: str = "", locate: Locate | None = None, conditions: Conditions = NO_CONDITIONS) -> Rule:
    """The rule as a tree, its text in the canonical form; ConfigError with the place and what belongs there."""
    rule: Rule = _read("rule", text, origin, locate, conditions)
    return replace(rule, text=to_text(rule), origin=origin)


def parse_condition(
    text: str, origin: str = "", locate: Locate | None = None, conditions: Conditions = NO_CONDITIONS
) -> Expression:
    """What stands between the brackets of a rule; ConfigError likewise."""
    expression: Expression = _read("condition", text, origin, locate, conditions)
    return expression


def _read(what: str, text: str, origin: str, locate: Locate | None, conditions: Conditions) -> Anything:
    try:
        _check_bounds(what, text)
        found = _build(_parse(what, text), conditions)
        _check_size(found.condition if isinstance(found, Rule) else found)
    except _RuleError as error:
        where = locate(error.position) if locate else f"{origin}:column {error.position + 1}".lstrip(":")
        raise ConfigError(error.message, where=where, hint=error.hint) from None
    return found


def to_text(rule: Rule) -> str:
    """One line that parses to the same tree."""
    hold = f" for {Duration(rule.hold_s)}" if rule.hold_s else ""
    return f"{rule.label}: if ({expression_text(rule.condition)}){hold} then {rule.action};"


def expression_text(expression: Expression) -> str:
    match expression:
        case Test(value=value, negated=negated):
            return f"{expression.reference} {'!=' if negated else '=='} {value}"
        case Count(least, tests):
            value = tests[0].value
            operator = "!=" if tests[0].negated else "=="
            return f"{least} of ({', '.join(test.reference for test in tests)}) {operator} {value}"
        case Named(name):
            return name
        case Not(term):
            return f"!{expression_text(term)}" if isinstance(term, (Not, Named)) else f"!({expression_text(term)})"
        case All(terms):
            return " && ".join(map(_operand, terms))
        case Any(choices):
            return " || ".join(map(_operand, choices))


def _operand(term: Expression) -> str:
    text = expression_text(term)
    return f"({text})" if isinstance(term, (All, Any)) else text


def _check_bounds(what: str, text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise _RuleError(f"the {what} has {len(text)} characters; the limit is {MAX_CHARACTERS}", 0, "split it")
    depth = negations = 0
    for position, mark in enumerate(text):
        depth += (mark == "(") - (mark == ")")
        negations = negations + 1 if mark == "!" else negations * mark.isspace()
        if depth + negations > MAX_NESTING:
            raise _RuleError(f"nested deeper than {MAX_NESTING} levels", position, f"split the {what}")


def _check_size(expression: Expression) -> None:
    """Named conditions that use others could make a small text into a tree without end."""
    size, depth = _measure(expression)
    if size > MAX_COMPARISONS:
        hint = "use fewer named conditions in each other"
        raise _RuleError(f"{size} comparisons, named conditions included; the limit is {MAX_COMPARISONS}", 0, hint)
    if depth > MAX_DEPTH:
        raise _RuleError(f"named conditions lie {depth} levels deep; the limit is {MAX_DEPTH}", 0, "use fewer")


def _measure(expression: Expression) -> tuple[int, int]:
    measured = [_measure(part) for part in parts(expression)]
    if not measured:
        return 1, 1
    return sum(size for size, _ in measured), 1 + max(depth for _, depth in measured)


def _parse(what: str, text: str) -> Tree[Token]:
    try:
        return _parser().parse(text, start=what)
    except UnexpectedInput as error:
        _explain(what, text, error)


def _build(tree: Tree[Token], conditions: Conditions) -> Anything:
    try:
        return _TreeBuilder(conditions).transform(tree)
    except VisitError as error:
        raise error.orig_exc from None


def _explain(what: str, text: str, error: UnexpectedInput) -> NoReturn:
    """What belongs at the first place that does not fit, in words."""
    expected, example = _expected(error).replace("the end", f"the end of the {what}"), _EXAMPLES[what]
    position: int = error.pos_in_stream  # type: ignore[assignment]
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    if at_end or position >= len(text):
        end = len(text.rstrip())
        raise _RuleError(f"the {what} ends too early: expected {expected}", max(end - 1, 0), example) from None
    found = re.compile(r"[A-Za-z0-9_.:*?-]+|[&|=!]+|.", re.DOTALL).match(text, position)
    word = found.group() if found else text[position]
    raise _RuleError(f"expected {expected}, found '{word}'", position, example) from None


def _expected(error: UnexpectedInput) -> str:
    """The words for what the parser would take here; exact, where the lexer alone would also name a `)` too many."""
    accepted = error.interactive_parser.accepts()  # type: ignore[no-untyped-call]
    words = [words for name, words in _IN_WORDS.items() if name in accepted]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@v_args(inline=True)
class _TreeBuilder(Transformer[Token, Anything]):
    def __init__(self, conditions: Conditions) -> None:
        super().__init__()
        self._conditions = conditions

    def rule(self, label: Token, _if: Token, condition: Expression, *rest: Token | None) -> Rule:
        span = next((token for token in rest if token is not None and token.type == "SPAN"), None)
        action = next(token for token in rest if token is not None and token.type == "ACTION")
        if action not in ACTIONS:
            raise _wrong_word("action", action, ACTIONS)
        return Rule(str(label), condition, str(action), hold_s=_seconds(span) if span is not None else 0.0)

    def condition(self, expression: Expression) -> Expression:
        return expression

    def either(self, *terms: Anything) -> Expression:
        return Any(tuple(term for term in terms if not isinstance(term, Token)))

    def both(self, *terms: Anything) -> Expression:
        return All(tuple(term for term in terms if not isinstance(term, Token)))

    def negate(self, _not: Token, term: Expression) -> Expression:
        return Not(term)

    def group(self, term: Expression) -> Expression:
        return term

    def named(self, name: Token) -> Expression:
        if name in self._conditions:
            return Named(str(name), self._conditions[name])
        hint = did_you_mean(name, self._conditions, "conditions") or f"write {name}.name == down, or name a condition"
        raise _RuleError(f"there is no condition '{name}'", _position(name), hint)

    def test(self, reference: Token, operator: Token, value: Token) -> Expression:
        if reference in self._conditions:
            hint = f"write {reference} alone, or !{reference}"
            raise _RuleError(f"'{reference}' is a condition, which has no value", _position(reference), hint)
        return _test(reference, operator, value)

    def count(self, number: Token, _of: Token, *rest: Token) -> Expression:
        *references, operator, value = rest
        tests = tuple(_test(reference, operator, value) for reference in references)
        for reference, test in zip(references, tests, strict=True):
            if test.ident == ANY:
                raise _RuleError(f"'{reference}' is not counted", _position(reference), f"{test.resource_class}.*")
            if tests.count(test) > 1:
                raise _RuleError(f"'{reference}' is here twice", _position(reference), "remove one")
        most = len(tests) if all(test.ident != EVERY for test in tests) else MAX_COMPARISONS
        if not 1 <= int(number[:9]) <= most:
            raise _RuleError(f"{number} of {len(tests)} cannot be", _position(number), f"a number from 1 to {most}")
        return Count(int(number), tests)


def _test(reference: Token, operator: Token, value: Token) -> Test:
    found = _REFERENCE.fullmatch(reference)
    if found is None or found["cls"] in {"local", "remote"}:
        hint = "write class.name, class.* or class.?, with local. or remote. before it"
        raise _RuleError(f"'{reference}' is not a resource", _position(reference), hint)
    if value not in VALUES:
        raise _wrong_word("value", value, VALUES)
    return Test(found["side"] or "local", found["cls"], found["ident"], str(value), negated=operator == "!=")


def _wrong_word(what: str, word: Token, known: tuple[str, ...]) -> _RuleError:
    return _RuleError(f"unknown {what} '{word}'", _position(word), did_you_mean(word, known, f"{what}s"))


def _seconds(span: Token) -> float:
    try:
        return Duration.parse(span).seconds
    except ValueError as error:
        raise _RuleError(str(error), _position(span)) from None


def _position(token: Token) -> int:
    return token.start_pos or 0


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", start=["rule", "condition"], maybe_placeholders=False)
