"""What an OCF agent says of itself: its parameters and actions, in the XML of the Resource Agent API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final
from xml.etree import ElementTree

from safekit_sdk import ConfigError

LIMIT_BYTES: Final = 512 * 1024
"""The largest of the agents in Debian 12 say 49 KB."""
_DOCUMENT: Final = re.compile(r"<resource-agent\b.*</resource-agent\s*>", re.DOTALL)
_HINT: Final = "is it an OCF resource agent? it has to answer to `meta-data`"
_SIZES_S: Final = {"us usec": 1e-6, "ms msec": 1e-3, "s sec": 1.0, "m min": 60.0, "h hr": 3600.0}
_UNIT_S: Final = {"": 1.0} | {unit: size_s for units, size_s in _SIZES_S.items() for unit in units.split()}
_TIME: Final = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNIT_S)})", re.IGNORECASE)
_TRUTHS: Final = re.compile(r"0|1|y(es)?|no?|t(rue)?|f(alse)?|on|off|ja", re.IGNORECASE)
_OF_EVERY_AGENT: Final = frozenset(("trace_ra", "trace_file", "trace_dir"))
"""Parameters of the agents' shell library, which no meta-data lists."""
_PROMOTED: Final = frozenset(("promoted", "master"))


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    kind: str = "string"
    """string, integer or boolean; others are taken as text."""
    required: bool = False
    default: str | None = None
    summary: str = ""
    text: str = ""

    @property
    def needed(self) -> bool:
        """Without a default; several agents write an empty one for what they require."""
        return self.required and not self.default

    def objection(self, value: str) -> str:
        """Why the agent cannot take this value, or nothing. Where its own default is not of its kind (as in Debian's
        pingd), the kind says nothing."""
        wrong = self._mismatch(value)
        return f"{self.name}: '{value}' {wrong}" if wrong and not self._mismatch(self.default or "0") else ""

    def _mismatch(self, value: str) -> str:
        if self.kind == "integer" and not re.fullmatch(r"\s*[+-]?\d+\s*", value):
            return "is not a whole number"
        if self.kind == "boolean" and not _TRUTHS.fullmatch(value.strip()):
            return "is neither true nor false"
        return ""


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    timeout_s: float | None = None
    interval_s: float | None = None
    depth: int = 0
    promoted: bool | None = None
    """Whether it is meant for the promoted; None: for either role."""


@dataclass(frozen=True, slots=True)
class Metadata:
    summary: str = ""
    text: str = ""
    parameters: Mapping[str, Parameter] | None = None
    """By name; None when the agent could not be asked."""
    actions: tuple[Action, ...] = ()

    def has(self, action: str) -> bool:
        return any(one.name == action for one in self.actions)

    @property
    def promotable(self) -> bool:
        return self.has("promote") and self.has("demote")

    def advice(self, action: str, *, depth: int = 0, promoted: bool = False) -> Action:
        """What fits best: the role's own before that for either, this depth before another."""
        roles = (promoted, None, not promoted)
        named = [one for one in self.actions if one.name == action]
        return min(named, key=lambda one: (one.depth != depth, roles.index(one.promoted)), default=Action(action))

    def depths(self) -> list[int]:
        return sorted({one.depth for one in self.actions if one.name == "monitor"})

    def objections(self, plain: Mapping[str, str], hidden: Iterable[str] = ()) -> list[str]:
        """A sentence for each parameter that is unknown, lacks, or has a value that is none of its kind. The values of
        `hidden` are not looked at."""
        known = self.parameters
        if known is None:
            return []
        given = {*plain, *hidden}
        said = [self._mend(name) for name in sorted(given - set(known) - _OF_EVERY_AGENT)]
        wrong = (known[name].objection(value) for name, value in plain.items() if name in known)
        missing = (one for one in known.values() if one.needed and one.name not in given)
        return [
            *said,
            *filter(None, wrong),
            *(f"the parameter '{one.name}' is missing: {one.summary}" for one in missing),
        ]

    def _mend(self, name: str) -> str:
        known = sorted(self.parameters or ())
        folded = {other.lower(): other for other in known}
        near = get_close_matches(name.lower(), folded, n=1)
        mend = f"did you mean '{folded[near[0]]}'?" if near else f"it knows {', '.join(known) or 'none'}"
        return f"the agent has no parameter '{name}'; {mend}"


def parse(output: str) -> Metadata:
    """Of the agent's output; what it printed around the document is passed over. ConfigError when there is none, when
    it is too long, or when it declares anything, which could be entities."""
    if len(output.encode()) >= LIMIT_BYTES:
        raise ConfigError(f"the agent's meta-data is longer than {LIMIT_BYTES} bytes", hint=_HINT)
    found = _DOCUMENT.search(output)
    if found is None:
        raise ConfigError("the agent gives no meta-data", hint=_HINT)
    if "<!" in re.sub(r"<!--.*?-->|<!\[CDATA\[", "", found[0], flags=re.DOTALL):
        raise ConfigError("the agent's meta-data has declarations, which are not read", hint=_HINT)
    try:
        root = ElementTree.fromstring(found[0])
    except ElementTree.ParseError as error:
        raise ConfigError(f"the agent's meta-data cannot be read: {error}", hint=_HINT) from None
    parameters = (_parameter(one) for one in root.findall("parameters/parameter"))
    return Metadata(
        _text(root, "shortdesc"),
        _text(root, "longdesc"),
        {one.name: one for one in parameters if one.name},
        tuple(_action(one) for one in root.findall("actions/action")),
    )


def read_time_s(text: str | None) -> float | None:
    """`20`, `20s`, `500ms`, `1min`; None when it is nothing of the kind."""
    found = _TIME.fullmatch((text or "").strip())
    if found is None:
        return None
    return float(found[1]) * _UNIT_S[found[2].lower()]


def _parameter(element: ElementTree.Element) -> Parameter:
    content = element.find("content")
    given = {} if content is None else content.attrib
    return Parameter(
        element.get("name", ""),
        given.get("type", "string"),
        element.get("required", "0").lower() in ("1", "true", "yes"),
        given.get("default"),
        _text(element, "shortdesc"),
        _text(element, "longdesc"),
    )


def _action(element: ElementTree.Element) -> Action:
    role, depth = element.get("role", "").lower(), element.get("depth", "0")
    return Action(
        element.get("name", ""),
        read_time_s(element.get("timeout")) or None,
        read_time_s(element.get("interval")) or None,
        int(depth) if depth.isdecimal() else 0,
        role in _PROMOTED if role else None,
    )


def _text(element: ElementTree.Element, tag: str) -> str:
    """The text of the first of these below it."""
    return " ".join((element.findtext(tag) or "").split())
