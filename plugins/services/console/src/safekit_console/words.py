"""The console's languages. English is in the templates; a catalogue `locale/CODE.po` has another language.

A new language is a new file: a header line `Language-Name: …` in the first entry, then `msgid "English"` with
`msgstr "…"` beneath, each on one line. What is not in it is shown in English."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

LOCALE: Final = Path(__file__).parent / "locale"
ENGLISH: Final = "en"


class Words:
    """Called with an English text it returns it in its language, with words in their places."""

    def __init__(self, code: str, name: str, texts: Mapping[str, str]) -> None:
        self.code = code
        self.name = name
        self._texts = texts

    def __call__(self, text: str, words: Mapping[str, str] | None = None, **more: object) -> str:
        found = self._texts.get(text, text)
        return found % {**(words or {}), **more} if words or more else found

    def has(self, text: str) -> bool:
        return text in self._texts


@cache
def languages() -> dict[str, Words]:
    """By code, English first."""
    found = {ENGLISH: Words(ENGLISH, "English", {})}
    for path in sorted(LOCALE.glob("*.po")):
        texts = read_catalogue(path.read_text(encoding="utf-8"))
        name = texts.pop("", "").partition("Language-Name:")[2].strip() or path.stem
        found[path.stem] = Words(path.stem, name, texts)
    return found


def read_catalogue(text: str) -> dict[str, str]:
    """ValueError where an entry is not in the form above."""
    found: dict[str, str] = {}
    key: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        kind, _, rest = line.strip().partition(" ")
        if kind == "msgid":
            key = json.loads(rest)
        elif kind == "msgstr" and key is not None:
            found[key], key = json.loads(rest), None
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"line {number}: neither msgid nor msgstr")
    return found


def chosen(cookie: str, accepted: str) -> Words:
    """The language of the cookie, else the first that the browser asks for and we have."""
    known = languages()
    wanted = [cookie, *(part.partition(";")[0].strip().partition("-")[0].lower() for part in accepted.split(",")[:20])]
    return next((known[code] for code in wanted if code in known), known[ENGLISH])
