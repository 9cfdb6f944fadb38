"""XML with the place of every element, attribute and line of text. defusedxml reads it, and refuses entities; where the
things stand is looked up in the text, and both have to agree."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import create_parser

from safekit.importing.account import Account, Item, shown
from safekit.importing.source import MAX_ITEMS, Source
from safekit_sdk import ConfigError

MAX_DEPTH: Final = 64
_MARKUP: Final = re.compile(
    r"""<!--.*?-->|<!\[CDATA\[(?P<cdata>.*?)\]\]>|<\?.*?\?>|<![^>]*>|</[^>]*>"""
    r"""|<(?P<tag>[^\s/>]+)(?P<rest>(?:[^"'>]|"[^"]*"|'[^']*')*?)(?P<empty>/?)>""",
    re.DOTALL,
)
_ATTRIBUTE: Final = re.compile(r"""([^\s=]+)\s*=\s*(?:"[^"]*"|'[^']*')""")
_REFERENCE: Final = re.compile(r"&(?:(lt|gt|amp|quot|apos)|#(\d{1,7})|#x([0-9A-Fa-f]{1,6}));")
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


@dataclass(frozen=True, slots=True, eq=False)
class Attribute(Item):
    value: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Text(Item):
    """One line of an element's text that is not empty."""

    value: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Element(Item):
    tag: str = ""
    attributes: dict[str, Attribute] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def get(self, name: str, default: str = "") -> str:
        found = self.attributes.get(name)
        return default if found is None else found.value

    def each(self, *tags: str) -> list[Element]:
        return [child for child in self.children if child.tag in tags]

    def first(self, tag: str) -> Element | None:
        return next((child for child in self.children if child.tag == tag), None)

    def walk(self) -> Iterator[Element]:
        """Itself and all below."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(reversed(element.children))

    def items(self) -> Iterator[Item]:
        """All that it says, itself first."""
        for element in self.walk():
            yield element
            yield from element.attributes.values()
            yield from element.texts


class _Events(ContentHandler):
    """What defusedxml reads: elements with their attributes in order, and their ends."""

    def __init__(self) -> None:
        super().__init__()
        self.starts: list[tuple[str, dict[str, str]]] = []
        self.said: list[str] = []

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: N802 - SAX's name
        self.starts.append((name, dict(attrs.items())))

    def characters(self, content: str) -> None:
        self.said.append(content)


def parse(source: Source, account: Account) -> Element:
    """The root, everything in it entered in the account. ConfigError with the place where it stops being XML, and for
    entities, however they are written."""
    events = _read(source)
    root = _Reader(source, account).build(events)
    for item in root.items():
        account.enter(item)
    return root


def _read(source: Source) -> _Events:
    events = _Events()
    parser = create_parser(forbid_dtd=False, forbid_entities=True, forbid_external=True)
    parser.setContentHandler(events)
    try:
        parser.parse(io.BytesIO(_undeclared(source.text).encode("utf-8", "replace")))
    except DefusedXmlException:
        place = source.where(source.place(max(source.text.find("<!ENTITY"), 0)))
        raise ConfigError("entities are not read: they may hide other files, or an attack", where=place) from None
    except SAXParseException as error:
        place = f"{source.filename}:{error.getLineNumber()}:{(error.getColumnNumber() or 0) + 1}"
        raise ConfigError(f"this is not XML: {error.getMessage()}", where=place) from None
    return events


def _undeclared(text: str) -> str:
    """Without the declaration, which may name the encoding that the file had; all else stays in its place."""
    found = re.match(r"\s*<\?xml\b.*?\?>", text, re.DOTALL)
    return re.sub(r"[^\n]", " ", found[0]) + text[found.end() :] if found else text


class _Reader:
    def __init__(self, source: Source, account: Account) -> None:
        self._source = source
        self._account = account
        self._open: list[Element] = []
        self._root: Element | None = None
        self._count = 0

    def build(self, events: _Events) -> Element:
        starts, end, text = iter(events.starts), 0, self._source.text
        for found in _MARKUP.finditer(text):
            self._say(end, text[end : found.start()], plain=True)
            end = found.end()
            if found["tag"] is not None:
                self._start(found, *next(starts, ("", {})))
            elif found["cdata"] is not None:
                self._say(found.start("cdata"), found["cdata"], plain=False)
            elif found[0].startswith("</") and self._open:
                self._open.pop()
            elif found[0].startswith("<!DOCTYPE") and "[" in found[0]:
                self._refuse(found.start(), "a document type with declarations of its own is not read")
        if self._root is None or self._open or next(starts, None) is not None:
            self._refuse(0, "this XML cannot be read with its places")
        return self._root  # type: ignore[return-value]

    def _start(self, found: re.Match[str], tag: str, values: dict[str, str]) -> None:
        names = list(_ATTRIBUTE.finditer(found["rest"]))
        if tag != found["tag"] or [name[1] for name in names] != list(values):
            self._refuse(found.start(), "this XML cannot be read with its places")
        self._bound(found.start(), 1 + len(names))
        about = values.get("name", "")
        attributes = {name[1]: self._attribute(found.start("rest"), name, values[name[1]], about) for name in names}
        place = self._source.place(found.start())
        element = Element(f"<{tag}>", place, place.line, tag, attributes)
        if self._open:
            self._open[-1].children.append(element)
        elif self._root is None:
            self._root = element
        if not found["empty"]:
            self._open.append(element)

    def _attribute(self, base: int, name: re.Match[str], value: str, about: str) -> Attribute:
        start, end = base + name.start(), base + name.end()
        about = "" if name[1] in {"id", "name"} else about
        last_line = self._source.place(end).line
        return Attribute(shown(name[1], value, about=about), self._source.place(start), last_line, value)

    def _say(self, offset: int, raw: str, *, plain: bool) -> None:
        for line in raw.split("\n"):
            if line.strip() and self._open:
                self._bound(offset, 1)
                place = self._source.place(offset + len(line) - len(line.lstrip()))
                value = _REFERENCE.sub(_character, line) if plain else line
                what = value.strip()[:120]
                self._open[-1].texts.append(Text(what, place, place.line, value.strip()))
            offset += len(line) + 1

    def _bound(self, offset: int, more: int) -> None:
        self._count += more
        if self._count > MAX_ITEMS:
            self._refuse(offset, f"more than {MAX_ITEMS} elements and attributes")
        if len(self._open) > MAX_DEPTH:
            self._refuse(offset, f"nested deeper than {MAX_DEPTH} levels")

    def _refuse(self, offset: int, message: str) -> None:
        raise ConfigError(message, where=self._source.where(self._source.place(offset)))


def _character(found: re.Match[str]) -> str:
    if found[1]:
        return _NAMED[found[1]]
    number = int(found[2]) if found[2] else int(found[3], 16)
    return chr(number) if number < 0x110000 else ""
