"""Takes secrets out of what is to be handed to others: those that are known, and what looks like one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

REMOVED: Final = "(removed)"
SHORTEST: Final = 4
"""What is shorter is found everywhere, and taking it out would leave nothing."""
_STATES: Final = ("ALONE", "PRIM", "SECOND", "WAIT", "STOP", "NotReady", "Transient", "Ready", "down", "unknown")
_SETTINGS: Final = (
    "mirror",
    "farm",
    "light",
    "true",
    "false",
    "none",
    "safety",
    "availability",
    "required",
    "automatic",
)
WORDS: Final = frozenset((*_STATES, *_SETTINGS, "required", "reboot", "alarm", "warning", "http", "https", "localhost"))
"""Of an environment that a configuration may take a word from; they say nothing, and findings are made of them."""
_KEY: Final = r"[\w.-]{0,24}(?:pass(?:wd|word|phrase|code)?|pwd|secret|token|api_?key|private_?key|credentials?)"
_ABOUT: Final = r"(?!_?(?:file|path|dir|url|name|env|ttl|length|s)\b)"
_SECRET_KEY: Final = re.compile(rf"{_KEY}", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"(env:[A-Za-z_]\w*|file:/.*|/.*|true|false|null|none|%.*%|)", re.IGNORECASE)
_PAIR: Final = re.compile(
    rf"(?P<key>\b{_KEY}{_ABOUT}\\?[\"']?\s{{0,4}}[:=]\s{{0,4}})"
    r"(?P<value>\\?\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s,;}\]\"']+)",
    re.IGNORECASE,
)
_OPTION: Final = re.compile(
    rf"(?P<key>--?{_KEY}{_ABOUT}[\"']?,?\s{{1,4}})(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,;}}\]\"'-][^\s,;}}\]\"']*)",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"(?P<key>://[^/\s:@\"']{0,200}:)(?P<value>[^/\s@\"']{1,200})(?=@)")
_BEARER: Final = re.compile(
    r"(?P<key>\b(?:bearer|authorization: basic)\s+)(?P<value>[A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE
)
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_HINT: Final = re.compile(r"pass|pwd|secret|token|api_?key|private|credential|bearer|authorization|://", re.IGNORECASE)
"""Without one of these no pattern below matches: most lines are told apart by it."""
_LOOKS: Final = (_PAIR, _OPTION, _URL, _BEARER)
_MAX_DEPTH: Final = 64


class Redactor:
    def __init__(self, known: Iterable[str], public: Iterable[str] = ()) -> None:
        """`known`: the secrets of this node. `public`: names and addresses, which stay even if one of them is alike."""
        kept = {*public, *WORDS}
        values = {one for one in known if len(one) >= SHORTEST and one not in kept}
        spelled = sorted({form for value in values for form in _forms(value)}, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, spelled))) if spelled else None

    def text(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(REMOVED, text)
        if _HINT.search(text) is None:
            return text
        text = _PEM.sub(REMOVED, text)
        for pattern in _LOOKS:
            text = pattern.sub(_without_value, text)
        return text

    def value(self, value: Any, depth: int = 0) -> Any:
        """Of plain data every text, and every text under a key that names a secret. Numbers stay."""
        if depth > _MAX_DEPTH:
            return REMOVED
        if isinstance(value, dict):
            return {self.text(str(key)): self._under(str(key), inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner, depth + 1) for inner in value]
        return self.text(value) if isinstance(value, str) else value

    def _under(self, key: str, value: Any, depth: int) -> Any:
        if isinstance(value, str) and names_secret(key) and not _REFERENCE.fullmatch(value):
            return REMOVED
        return self.value(value, depth)

    def document(self, text: str) -> str:
        """JSON in, JSON out; quick where there is nothing to take out."""
        if self.text(text) == text:
            return text
        try:
            return json.dumps(self.value(json.loads(text)), separators=(",", ":"), ensure_ascii=False)
        except ValueError:
            return json.dumps(self.text(text), ensure_ascii=False)


def names_secret(key: str) -> bool:
    found = _SECRET_KEY.search(key)
    return found is not None and not re.match(r"_?(file|path|dir|url|name|env|ttl|length|s)$", key[found.end() :], re.I)


def _without_value(found: re.Match[str]) -> str:
    value = found["value"].strip("\\\"'")
    return found[0] if _REFERENCE.fullmatch(value) else f"{found['key']}{REMOVED}"


def _forms(value: str) -> set[str]:
    """As it may be written: as it is, in JSON, in an address, in base64."""
    encoded = value.encode(errors="surrogateescape")
    forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(encoded, safe="")}
    if len(encoded) >= 2 * SHORTEST:
        forms.add(base64.b64encode(encoded).decode().rstrip("="))
    return forms
