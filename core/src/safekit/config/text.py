"""YAML 1.2 text into plain values, with the place of each key and value. Bounded; nothing of it is executed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from safekit.config.errors import ConfigErrors
from safekit_sdk import ConfigError

MAX_BYTES: Final = 1 << 20
MAX_VALUES: Final = 20_000
"""Counted after aliases are followed, so that a few lines of aliases cannot become gigabytes."""
MAX_DEPTH: Final = 32
Path = tuple[str | int, ...]
"""The way to a value: `("pipeline", 0, "vip", "address")`."""
_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Place:
    line: int
    """Counted from 1."""
    column: int
    """Counted from 1."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file's values. Places are known for all keys and values; `where` formats one for an error."""

    filename: str
    text: str
    value: Any
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    origins: dict[Path, tuple[Document, Path]] = field(default_factory=dict)
    """Of what other files have brought: in which one, and where there."""

    def _origin(self, path: Path) -> tuple[Document, Path] | None:
        for end in range(len(path), 0, -1):
            if found := self.origins.get(path[:end]):
                return found[0], (*found[1], *path[end:])
        return None

    def where(self, path: Path, *, key: bool = False) -> str:
        """`file:line:column` of the value at this path, of its key where there is one and it is asked for, or of
        the nearest thing around it."""
        if origin := self._origin(path):
            return origin[0].where(origin[1], key=key)
        for end in range(len(path), -1, -1):
            places = (self.keys, self.values) if key or end < len(path) else (self.values, self.keys)
            for known in places:
                if place := known.get(path[:end]):
                    return self.at(place)
        return self.filename

    def at(self, place: Place) -> str:
        return f"{self.filename}:{place.line}:{place.column}"

    def inside(self, path: Path, offset: int) -> str:
        """The place of a character within a string value, exact where the file has the string as it reads; else
        the place where the string begins."""
        if origin := self._origin(path):
            return origin[0].inside(origin[1], offset)
        start = self.values.get(path)
        value: Any = self.value
        for part in path:
            value = value[part]
        if start is None or not isinstance(value, str):
            return self.where(path)
        lines = self.text.split("\n")
        mark = lines[start.line - 1][start.column - 1 : start.column]
        row, before = value.count("\n", 0, offset), value[:offset].rpartition("\n")[2]
        if mark == "|":
            number, begin = start.line + 1 + row, len(lines[start.line]) - len(lines[start.line].lstrip(" "))
        else:
            number, begin = start.line, start.column - 1 + (mark in {"'", '"'})
        if lines[number - 1][begin : begin + len(before)] != before:
            return self.where(path)
        return self.at(Place(number, begin + len(before) + 1))


def read(data: bytes, filename: str) -> Document:
    """The values of one YAML document; ConfigErrors with every duplicate key and unusable value, or with the one
    place where it stops being YAML."""
    text = _decode(data, filename)
    node = _compose(text, filename)
    builder = _Builder(filename)
    value = builder.build(node, ())
    if builder.errors:
        raise ConfigErrors(builder.errors)
    return Document(filename, text, value, builder.keys, builder.values)


def _decode(data: bytes, filename: str) -> str:
    if len(data) > MAX_BYTES:
        raise ConfigErrors(
            [ConfigError(f"the file has {len(data)} bytes; the limit is {MAX_BYTES}", where=f"{filename}:1:1")]
        )
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = f"{filename}:{before.count(10) + 1}:{error.start - before.rfind(10)}"
        raise ConfigErrors(
            [ConfigError("this is not text in UTF-8", where=place, hint="save the file as UTF-8 text")]
        ) from None


def _compose(text: str, filename: str) -> Node:
    if text.startswith("%"):
        raise ConfigErrors(
            [ConfigError("YAML directives are not used here", where=f"{filename}:1:1", hint="remove the line")]
        )
    try:
        node = YAML(typ="rt", pure=True).compose(text)
    except ReaderError as error:
        raise ConfigErrors([_unreadable(text, error, filename)]) from None
    except MarkedYAMLError as error:
        raise ConfigErrors([_not_yaml(text, error, filename)]) from None
    except RecursionError:
        raise ConfigErrors([_too_deep(f"{filename}:1:1")]) from None
    if node is None:
        raise ConfigErrors([ConfigError("the file is empty", where=f"{filename}:1:1")])
    return node  # type: ignore[no-any-return]


def _unreadable(text: str, error: ReaderError, filename: str) -> ConfigError:
    before = text[: error.position]
    place = f"{filename}:{before.count(chr(10)) + 1}:{error.position - before.rfind(chr(10))}"
    return ConfigError(
        f"the character U+{ord(text[error.position]):04X} may not be in a YAML file",
        where=place,
        hint="is this a text file? Remove the character",
    )


def _not_yaml(text: str, error: MarkedYAMLError, filename: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return ConfigError(f"this is not YAML: {error.problem}", where=filename)
    place = f"{filename}:{mark.line + 1}:{mark.column + 1}"
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or line[mark.column : mark.column + 1] == "\t":
        tab = Place(mark.line + 1, line.index("\t") + 1)
        return ConfigError(
            "a tab where YAML wants spaces", where=f"{filename}:{tab.line}:{tab.column}", hint="indent with spaces"
        )
    if "another document" in str(error.problem):
        return ConfigError("a second document begins here", where=place, hint="remove the line '---'")
    began = error.context_mark
    problem = str(error.problem)
    if began is not None and "end" in problem and "stream" in problem:
        place = f"{filename}:{began.line + 1}:{began.column + 1}"
        return ConfigError(f"this is not YAML: {error.context}, which begins here and never ends", where=place)
    since = f" (begun at line {began.line + 1})" if began is not None and began.line != mark.line else ""
    around = f"{error.context}{since}, " if error.context else ""
    hint = "quote the value" if "cannot start any token" in problem else "check the indentation and quotes"
    return ConfigError(f"this is not YAML: {around}{problem}", where=place, hint=hint)


def _too_deep(where: str) -> ConfigError:
    return ConfigError(f"nested deeper than {MAX_DEPTH} levels", where=where)


class _Builder:
    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.errors: list[ConfigError] = []
        self.keys: dict[Path, Place] = {}
        self.values: dict[Path, Place] = {}

    def build(self, node: Node, path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            raise ConfigErrors([_too_deep(self._where(node))])
        if len(self.values) >= MAX_VALUES:
            raise ConfigErrors([ConfigError(f"more than {MAX_VALUES} values", where=self._where(node))])
        self.values[path] = _place(node)
        if isinstance(node, MappingNode):
            return {key: self.build(value, (*path, key)) for key, value in self._pairs(node, path)}
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node) if isinstance(node, ScalarNode) else None

    def _pairs(self, node: MappingNode, path: Path) -> Iterator[tuple[str, Node]]:
        for key_node, value in node.value:
            key = self._key(key_node)
            if key is None:
                continue
            if first := self.keys.get((*path, key)):
                self._wrong(key_node, f"the key '{key}' is here twice; first at line {first.line}", "remove one")
                continue
            self.keys[(*path, key)] = _place(key_node)
            yield key, value

    def _key(self, node: Node) -> str | None:
        if not isinstance(node, ScalarNode):
            self._wrong(node, "a key must be a plain word", "quote a value that begins with { or [")
            return None
        if str(node.tag) == f"{_TAG}merge":
            self._wrong(node, "merge keys (<<) do not exist in YAML 1.2", "write the keys out")
            return None
        return str(node.value)

    def _scalar(self, node: ScalarNode) -> Any:
        kind = str(node.tag).removeprefix(_TAG)
        text = str(node.value)
        if node.style is not None and kind == "str":
            return text
        if kind not in _SCALARS:
            self._wrong(node, f"the YAML tag {node.tag} is not used here", "remove it, or quote the value")
            return None
        try:
            return _SCALARS[kind](text)
        except ValueError:
            self._wrong(node, f"'{text[:60]}' cannot be read as a number", "quote it if it is text")
            return None

    def _wrong(self, node: Node, message: str, hint: str) -> None:
        self.errors.append(ConfigError(message, where=self._where(node), hint=hint))

    def _where(self, node: Node) -> str:
        place = _place(node)
        return f"{self.filename}:{place.line}:{place.column}"


def _place(node: Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _integer(text: str) -> int:
    """YAML 1.2: `012` is twelve, `0o12` is ten."""
    digits = text.replace("_", "")
    sign, plain = (-1 if digits[:1] == "-" else 1), digits.lstrip("+-").lower()
    base = {"0x": 16, "0o": 8, "0b": 2}.get(plain[:2], 10)
    return sign * int(plain[2:] if base != 10 else plain, base)


def _number(text: str) -> float:
    return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "int": _integer,
    "float": _number,
    "bool": lambda text: text.lower() == "true",
    "null": lambda _: None,
    "timestamp": str,
}
