"""`include:` of a module file: parts of it in other files of its directory. Their lists come before its own; of two
values for one key the including file's holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Final

from safekit.config import bundle
from safekit.config.problems import did_you_mean
from safekit.config.text import Document, Path, read
from safekit_sdk import ConfigError

MAX_DEPTH: Final = 8
MAX_INCLUDED: Final = 50
KEY: Final = "include"
Files = Mapping[str, bytes]


def merge(document: Document, beside: Files) -> Document:
    """The document with what it includes; places are those of the files in which things stand. `beside`: the files of
    the module's directory, and so all that can be included. ConfigError with the place of the `include`."""
    return _Merger(beside, str(PurePosixPath(document.filename).parent)).merge(document, ())


class _Merger:
    def __init__(self, beside: Files, folder: str) -> None:
        self._beside = beside
        self._folder = folder
        self._count = 0

    def merge(self, document: Document, around: tuple[str, ...]) -> Document:
        names = document.value.get(KEY) if isinstance(document.value, dict) else None
        if not isinstance(names, list):
            return document
        parts = [
            self._included(document, (KEY, index), name, around)
            for index, name in enumerate(names)
            if isinstance(name, str)
        ]
        return _joined([*parts, document])

    def _included(self, document: Document, path: Path, name: str, around: tuple[str, ...]) -> Document:
        where = document.where(path)
        try:
            bundle.check_path(name)
        except ConfigError as error:
            raise ConfigError(error.message, where=where, hint=error.hint) from None
        self._count += 1
        if name in (*around, bundle.MODULE_FILE):
            raise ConfigError(f"'{name}' includes itself", where=where, hint="remove one include")
        if len(around) >= MAX_DEPTH or self._count > MAX_INCLUDED:
            message = f"more than {MAX_DEPTH} includes in each other, or {MAX_INCLUDED} in all"
            raise ConfigError(message, where=where, hint="include fewer")
        if name not in self._beside:
            hint = did_you_mean(name, sorted(self._beside)[:20], "files of the module")
            raise ConfigError(f"there is no file '{name}' in the module's directory", where=where, hint=hint)
        part = read(self._beside[name], name if self._folder == "." else f"{self._folder}/{name}")
        if not isinstance(part.value, dict):
            raise ConfigError("a part of a module file is a mapping of keys to values", where=part.where(()))
        return self.merge(part, (*around, name))


def _joined(parts: list[Document]) -> Document:
    """Later ones win; lists are put one after the other."""
    value: dict[str, Any] = {}
    origins: dict[Path, tuple[Document, Path]] = {}
    for part in parts:
        for key, given in part.value.items():
            present = value.get(key)
            if isinstance(given, list) and isinstance(present, list) and key != KEY:
                origins |= {(key, len(present) + index): (part, (key, index)) for index in range(len(given))}
                value[key] = present + given
            elif isinstance(given, dict) and isinstance(present, dict):
                origins |= {(key, name): (part, (key, name)) for name in given}
                value[key] = {**present, **given}
            else:
                origins[(key,)] = (part, (key,))
                inner = range(len(given)) if isinstance(given, list) else given if isinstance(given, dict) else ()
                origins |= {(key, name): (part, (key, name)) for name in inner}
                value[key] = given
    return replace(parts[-1], value=value, origins=origins)
