"""keepalived.conf as statements with blocks: words, quotes, braces, comments, definitions `$NAME=…`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from safekit.importing.account import Account, Item, shown
from safekit.importing.source import MAX_ITEMS, Source
from safekit_sdk import ConfigError

MAX_DEPTH: Final = 32
MAX_CHARACTERS: Final = 16384
"""Of a word, with its definitions."""
MAX_SIZE: Final = 16 << 20
"""Of all words."""
_TOKEN: Final = re.compile(
    r"""(?P<blank>[ \t\v\f]+|\\\n)|(?P<end>\n)|(?P<comment>[#!][^\n]*)|(?P<open>\{)|(?P<close>\})"""
    r"""|(?P<quoted>"[^"\n]*"|'[^'\n]*')|(?P<word>(?:\$\{\w+\}|[^\s{}"'])+)|(?P<odd>.)""",
)
_DEFINITION: Final = re.compile(r"\$([A-Za-z_]\w*)=(.*)")
_USE: Final = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")


@dataclass(frozen=True, slots=True, eq=False)
class Statement(Item):
    words: tuple[str, ...] = ()
    block: list[Statement] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.words[0] if self.words else ""

    @property
    def rest(self) -> tuple[str, ...]:
        return self.words[1:]

    @property
    def value(self) -> str:
        """What follows the key, first word."""
        return self.words[1] if len(self.words) > 1 else ""

    def each(self, *keys: str) -> list[Statement]:
        return [statement for statement in self.block if statement.key in keys]

    def first(self, key: str) -> Statement | None:
        return next((statement for statement in self.block if statement.key == key), None)

    def get(self, key: str) -> str:
        found = self.first(key)
        return found.value if found is not None else ""

    def walk(self) -> Iterator[Statement]:
        """All below it, and itself."""
        waiting = [self]
        while waiting:
            statement = waiting.pop()
            yield statement
            waiting.extend(reversed(statement.block))


def parse(source: Source, account: Account) -> list[Statement]:
    """The statements of the outermost level, all entered in the account. ConfigError for braces that do not match."""
    reader = _Reader(source)
    top = reader.read()
    for outer in top:
        for statement in outer.walk():
            account.enter(statement)
    for statement in reader.definitions:
        account.enter(statement)
        account.carried(statement, "its value, where it is used")
    return top


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._top: list[Statement] = []
        self._open: list[Statement] = []
        self._words: list[str] = []
        self._start = 0
        self._end = 0
        self._last: Statement | None = None
        self._known: dict[str, str] = {}
        self._count = 0
        self._size = 0
        self.definitions: list[Statement] = []

    def read(self) -> list[Statement]:
        for found in _TOKEN.finditer(self._source.text):
            kind = found.lastgroup
            if kind in {"word", "quoted"}:
                self._word(found)
            elif kind == "open":
                self._begin(found.start())
            elif kind == "close":
                self._finish(found.start())
            elif kind in {"end", "comment"}:
                self._flush()
            elif kind == "odd":
                self._refuse(found.start(), "a quote that does not end in its line")
        self._flush()
        if self._open:
            place = self._source.where(self._open[-1].place)
            raise ConfigError(f"the block '{self._open[-1].what}' never ends", where=place, hint="add the brace }")
        return self._top

    def _word(self, found: re.Match[str]) -> None:
        if not self._words:
            self._start = found.start()
        self._end = found.end()
        quoted = found["quoted"] is not None
        text = found[0][1:-1] if quoted else found[0]
        self._words.append(text if not self._words and _DEFINITION.match(text) else self._filled(text))

    def _filled(self, text: str) -> str:
        """With the definitions that are known."""
        filled = _USE.sub(lambda use: self._known.get(use[1] or use[2], use[0]), text)
        self._size += len(filled)
        if len(filled) > MAX_CHARACTERS or self._size > MAX_SIZE:
            self._refuse(self._start, "definitions make too much of this")
        return filled

    def _flush(self) -> None:
        """The statement that ends here."""
        if not self._words:
            return
        words, self._words = tuple(self._words), []
        self._count += 1
        if self._count > MAX_ITEMS:
            self._refuse(self._start, f"more than {MAX_ITEMS} statements")
        last_line = self._source.place(self._end).line
        text = shown(words[0], " ".join(words[1:]), joint=" ").strip()
        statement = Statement(text[:120], self._source.place(self._start), last_line, words)
        if definition := _DEFINITION.match(" ".join(words)):
            self._known[definition[1]] = self._filled(definition[2])
            self.definitions.append(statement)
            return
        (self._open[-1].block if self._open else self._top).append(statement)
        self._last = statement

    def _begin(self, offset: int) -> None:
        self._flush()
        if self._last is None:
            self._refuse(offset, "a block without a name")
        elif len(self._open) >= MAX_DEPTH:
            self._refuse(offset, f"nested deeper than {MAX_DEPTH} levels")
        else:
            self._open.append(self._last)
        self._last = None

    def _finish(self, offset: int) -> None:
        self._flush()
        if not self._open:
            self._refuse(offset, "a brace } that closes nothing")
        self._open.pop()
        self._last = None

    def _refuse(self, offset: int, message: str) -> None:
        raise ConfigError(message, where=self._source.where(self._source.place(offset)))
