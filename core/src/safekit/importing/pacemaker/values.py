"""Values of a CIB: spans of time, scores, sets of name-value pairs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from safekit.importing.xml import Attribute, Element

INFINITY: Final = 1_000_000
_UNITS_S: Final = {"": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "usec": 1e-6, "s": 1.0, "sec": 1.0}
_UNITS_S.update({"m": 60.0, "min": 60.0, "h": 3600.0, "hr": 3600.0})
_SPAN: Final = re.compile(r"\s*([0-9]{1,10})\s*([a-z]*)\s*")
_ISO: Final = re.compile(r"P(?:T(?=[0-9])(?:([0-9]{1,6})H)?(?:([0-9]{1,6})M)?(?:([0-9]{1,8})S)?)")


def span_s(text: str) -> float | None:
    """None when it is no span of time."""
    if (iso := _ISO.fullmatch(text.strip())) is not None:
        hours, minutes, rest = (int(part or 0) for part in iso.groups())
        return hours * 3600.0 + minutes * 60.0 + rest
    found = _SPAN.fullmatch(text.lower())
    if found is None or found[2] not in _UNITS_S:
        return None
    value_s = int(found[1]) * _UNITS_S[found[2]]
    return value_s if value_s < 1e8 else None


def score(text: str) -> int | None:
    plain = text.strip().lstrip("+").upper()
    if plain in {"INFINITY", "-INFINITY"}:
        return -INFINITY if plain.startswith("-") else INFINITY
    return max(min(int(plain), INFINITY), -INFINITY) if re.fullmatch(r"-?[0-9]{1,9}", plain) else None


def pairs(element: Element, *sets: str) -> Iterator[tuple[str, Attribute, Element]]:
    """Name, value and element of each `<nvpair>` in these sets of the element. Those behind a rule are left out."""
    for outer in element.each(*sets):
        if outer.first("rule") is None:
            for pair in outer.each("nvpair"):
                value = pair.attributes.get("value")
                if value is not None and pair.get("name"):
                    yield pair.get("name"), value, pair
