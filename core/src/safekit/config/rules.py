"""Failover rules, text to tree and back. The grammar is SafeKit's (§13.19), with `for 5s` added:

`label: if (http.home == down && !(remote.disk.* != up)) for 5s then restart;`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any as Anything
from typing import Final, NoReturn

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, UnexpectedToken

from safekit.config.problems import did_you_mean
from safekit.engine.rules import All, Any, Expression, Not, Rule, Test
from safekit_sdk import ConfigError, Duration

ACTIONS: Final = ("stop", "stopstart", "wait", "restart", "swap")
VALUES: Final = ("init", "down", "up", "unknown")
MAX_CHARACTERS: Final = 2000
MAX_NESTING: Final = 32
Locate = Callable[[int], str]
"""From a position in the rule's text to `file:line:column`."""

_GRAMMAR: Final = r"""
start: LABEL ":" IF either [FOR SPAN] THEN ACTION [";"]
?either: both (OR both)*
?both: term (AND term)*
?term: NOT term -> negate
     | "(" either ")" -> group
     | REFERENCE OPERATOR VALUE -> test
LABEL: /[A-Za-z0-9_][A-Za-z0-9_.:-]*(?=\s*:)/
REFERENCE: /[A-Za-z0-9_][A-Za-z0-9_.:*?-]*/
OPERATOR: "==" | "!="
VALUE: /[A-Za-z_][A-Za-z0-9_-]*/
ACTION: /[A-Za-z_][A-Za-z0-9_-]*/
SPAN: /[0-9][0-9.a-z]*/
IF: /if\b/
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
    "RPAR": "')'",
    "AND": "'&&'",
    "OR": "'||'",
    "FOR": "'for' with a time",
    "SPAN": "a time, as 5s",
    "THEN": "'then'",
    "ACTION": f"an action ({', '.join(ACTIONS)})",
    "SEMICOLON": "';'",
    "$END": "the end of the rule",
}
_EXAMPLE: Final = "a rule reads: label: if (class.name == down) then restart"
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


def parse(text: str, origin: str = "", locate: Locate | None = None) -> Rule:
    """The rule as a tree, its text in the canonical form; ConfigError with the place and what belongs there."""
    try:
        _check_bounds(text)
        rule = _parse(text)
    except _RuleError as error:
        where = locate(error.position) if locate else f"{origin}:column {error.position + 1}".lstrip(":")
        raise ConfigError(error.message, where=where, hint=error.hint) from None
    return Rule(rule.label, rule.condition, rule.action, to_text(rule), rule.hold_s, origin)


def to_text(rule: Rule) -> str:
    """One line that parses to the same tree."""
    hold = f" for {Duration(rule.hold_s)}" if rule.hold_s else ""
    return f"{rule.label}: if ({expression_text(rule.condition)}){hold} then {rule.action};"


def expression_text(expression: Expression) -> str:
    if isinstance(expression, Test):
        side = "" if expression.side == "local" else f"{expression.side}."
        operator = "!=" if expression.negated else "=="
        return f"{side}{expression.resource_class}.{expression.ident} {operator} {expression.value}"
    if isinstance(expression, Not):
        inner = expression_text(expression.term)
        return f"!{inner}" if isinstance(expression.term, Not) else f"!({inner})"
    joint = " && " if isinstance(expression, All) else " || "
    return joint.join(_operand(term) for term in expression.terms)


def comparisons(expression: Expression) -> Iterator[Test]:
    """Every comparison of a tree, left to right."""
    if isinstance(expression, Test):
        yield expression
    elif isinstance(expression, Not):
        yield from comparisons(expression.term)
    else:
        for term in expression.terms:
            yield from comparisons(term)


def _operand(term: Expression) -> str:
    text = expression_text(term)
    return text if isinstance(term, (Test, Not)) else f"({text})"


def _check_bounds(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise _RuleError(f"the rule has {len(text)} characters; the limit is {MAX_CHARACTERS}", 0, "split it")
    depth = negations = 0
    for position, mark in enumerate(text):
        depth += (mark == "(") - (mark == ")")
        negations = negations + 1 if mark == "!" else negations * mark.isspace()
        if depth + negations > MAX_NESTING:
            raise _RuleError(f"nested deeper than {MAX_NESTING} levels", position, "split the rule")


def _parse(text: str) -> Rule:
    try:
        rule: Rule = _parser().parse(text)  # type: ignore[assignment]
        return rule
    except UnexpectedInput as error:
        _explain(text, error)


def _explain(text: str, error: UnexpectedInput) -> NoReturn:
    """What belongs at the first place that does not fit, in words."""
    expected = _expected(error)
    position: int = error.pos_in_stream  # type: ignore[assignment]
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    if at_end or position >= len(text):
        end = len(text.rstrip())
        raise _RuleError(f"the rule ends too early: expected {expected}", max(end - 1, 0), _EXAMPLE) from None
    found = re.compile(r"[A-Za-z0-9_.:*?-]+|[&|=!]+|.", re.DOTALL).match(text, position)
    word = found.group() if found else text[position]
    raise _RuleError(f"expected {expected}, found '{word}'", position, _EXAMPLE) from None


def _expected(error: UnexpectedInput) -> str:
    """The words for what the parser would take here; exact, where the lexer alone would also name a `)` too many."""
    accepted = error.interactive_parser.accepts()  # type: ignore[no-untyped-call]
    words = [words for name, words in _IN_WORDS.items() if name in accepted]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@v_args(inline=True)
class _TreeBuilder(Transformer[Token, Anything]):
    def start(self, label: Token, _if: Token, condition: Expression, *rest: Token | None) -> Rule:
        span = next((token for token in rest if token is not None and token.type == "SPAN"), None)
        action = next(token for token in rest if token is not None and token.type == "ACTION")
        if action not in ACTIONS:
            raise _wrong_word("action", action, ACTIONS)
        return Rule(str(label), condition, str(action), hold_s=_seconds(span) if span is not None else 0.0)

    def either(self, *terms: Anything) -> Expression:
        return Any(tuple(term for term in terms if not isinstance(term, Token)))

    def both(self, *terms: Anything) -> Expression:
        return All(tuple(term for term in terms if not isinstance(term, Token)))

    def negate(self, _not: Token, term: Expression) -> Expression:
        return Not(term)

    def group(self, term: Expression) -> Expression:
        return term

    def test(self, reference: Token, operator: Token, value: Token) -> Expression:
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
    return Lark(_GRAMMAR, parser="lalr", transformer=_TreeBuilder(), maybe_placeholders=False)
