"""What became of each line of a file that is imported: carried over, implied by a default, or lost. Whatever nobody
decided about is lost, and says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from safekit.config.text import Place

SHOWN: Final = 60
"""Characters of a value in the report."""
SECRET: Final = re.compile(
    r"(?:^|[_-])(?:pass|passwd|password|passphrase|secret|token|api_?key|community)(?:$|[_-])", re.I
)
HIDDEN: Final = "***"


class Fate(StrEnum):
    CARRIED = "carried"
    """It is in a file of ours, under the key that is named."""
    IMPLIED = "implied"
    """A default of ours does the same, or it is not needed here."""
    LOST = "lost"
    """It has no counterpart."""
    BARE = "bare"
    """A comment, an empty line, an end: it says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One thing that the source says: an element, an attribute, a directive, a line of text."""

    what: str
    """As the report shows it, secrets hidden."""
    place: Place
    last_line: int


@dataclass(frozen=True, slots=True)
class Finding:
    place: Place
    last_line: int
    what: str
    fate: Fate
    to: str = ""
    """The key that has it now: `web: pipeline[0].vip.address`."""
    why: str = ""
    todo: str = ""
    """What the operator has to do, or look at."""

    @property
    def asks(self) -> bool:
        """Whether a person has to look at it."""
        return self.fate is Fate.LOST or bool(self.todo)


class Account:
    """Every item of one source is entered when it is read, and decided about when it is used."""

    def __init__(self, filename: str, text: str) -> None:
        self.filename = filename
        self._lines = text.split("\n")
        self._items: list[Item] = []
        self._decided: dict[int, list[Finding]] = {}

    def enter(self, item: Item) -> None:
        self._items.append(item)

    def carried(self, item: Item, to: str, *, why: str = "", todo: str = "") -> None:
        self._decide(item, Fate.CARRIED, to=to, why=why, todo=todo)

    def implied(self, item: Item, why: str) -> None:
        self._decide(item, Fate.IMPLIED, why=why)

    def lost(self, item: Item, why: str, todo: str = "") -> None:
        self._decide(item, Fate.LOST, why=why, todo=todo)

    def holds(self, item: Item) -> None:
        """It only holds others, which are told one by one."""
        self._decide(item, Fate.BARE)

    def is_decided(self, item: Item) -> bool:
        return id(item) in self._decided

    def findings(self) -> tuple[Finding, ...]:
        """In the order of the source, with every line of it."""
        found = [*self._of_items(), *self._bare()]
        return tuple(sorted(found, key=lambda one: (one.place.line, one.place.column)))

    def _decide(self, item: Item, fate: Fate, *, to: str = "", why: str = "", todo: str = "") -> None:
        what, why, todo = map(_printable, (item.what, why, todo))
        finding = Finding(item.place, item.last_line, what, fate, to, why, todo)
        known = self._decided.setdefault(id(item), [])
        if finding not in known:
            known.append(finding)

    def _of_items(self) -> Iterator[Finding]:
        for item in self._items:
            if id(item) not in self._decided:
                self.lost(item, "it has no counterpart here")
            yield from self._decided[id(item)]

    def _bare(self) -> Iterator[Finding]:
        told = {line for item in self._items for line in range(item.place.line, item.last_line + 1)}
        for number, line in enumerate(self._lines, 1):
            if number not in told:
                yield Finding(Place(number, 1), number, _printable(line.strip()[:SHOWN]), Fate.BARE)


def shown(name: str, value: str, *, joint: str = "=", about: str = "") -> str:
    """`name="value"`, cut short; a secret's value is hidden. `about`: another word that tells whether it is one."""
    hidden = any(SECRET.search(word) for word in (name, about))
    text = HIDDEN if hidden else value if len(value) <= SHOWN else f"{value[:SHOWN]}…"
    return f'{name}{joint}"{text}"' if joint == "=" else f"{name}{joint}{text}"


def _printable(text: str) -> str:
    """What a terminal shows, and does not obey."""
    return "".join(mark if mark.isprintable() else "�" for mark in text)


def summary(findings: Iterable[Finding]) -> dict[Fate, int]:
    """How many findings of each kind."""
    counted = dict.fromkeys(Fate, 0)
    for finding in findings:
        counted[finding.fate] += 1
    return counted
