"""The file that is imported: bounded, as text, with its places."""

from __future__ import annotations

import bisect
import codecs
import re
from typing import Final

from safekit.config.text import Place
from safekit_sdk import ConfigError

MAX_BYTES: Final = 4 << 20
MAX_ITEMS: Final = 50_000
_ENCODINGS: Final = {"utf-8": "utf-8-sig", "us-ascii": "utf-8", "ascii": "utf-8", "utf-16": "utf-16"}
_ENCODINGS.update({name: name for name in ("iso-8859-1", "iso-8859-15", "windows-1252")})
_DECLARED: Final = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


class Source:
    """A text whose line endings are `\\n`."""

    def __init__(self, filename: str, text: str) -> None:
        self.filename = filename
        self.text = text
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def place(self, offset: int) -> Place:
        line = bisect.bisect_right(self._starts, offset)
        return Place(line, offset - self._starts[line - 1] + 1)

    def where(self, place: Place) -> str:
        return f"{self.filename}:{place.line}:{place.column}"


def read(data: bytes, filename: str) -> Source:
    """ConfigError for what is too large, or no text."""
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data)} bytes; the limit is {MAX_BYTES}"
        raise ConfigError(message, where=f"{filename}:1:1", hint="is this the right file?")
    declared = _DECLARED.match(data.removeprefix(codecs.BOM_UTF8))
    name = declared[1].decode().lower() if declared else "utf-8"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    if name not in _ENCODINGS:
        known = ", ".join(sorted(_ENCODINGS))
        raise ConfigError(
            f"the encoding '{name}' is not read", where=f"{filename}:1:1", hint=f"save it as one of {known}"
        )
    try:
        text = data.decode(_ENCODINGS[name])
    except UnicodeDecodeError as error:
        raise _no_text(data, error.start, filename, f"this is not text in {name}") from None
    if "\0" in text:
        raise _no_text(text.encode(), text.encode().index(0), filename, "this is not text: it has a NUL character")
    return Source(filename, text.replace("\r\n", "\n").replace("\r", "\n"))


def _no_text(data: bytes, offset: int, filename: str, message: str) -> ConfigError:
    before = data[:offset]
    place = f"{filename}:{before.count(10) + 1}:{offset - before.rfind(10)}"
    return ConfigError(message, where=place, hint="save the file as UTF-8 text")
