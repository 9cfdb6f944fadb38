"""What differs between two module files, by the way to each key. Comments, order of keys and quotes make no difference;
a secret is a reference in both, so that none can be shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from safekit.config.bundle import MODULE_FILE, Files
from safekit.config.includes import merge
from safekit.config.text import read

Sign = Literal["add", "remove", "change", "move"]
_NAMING: Final = ("name", "address", "port", "host", "url", "agent", "directory", "unit")


@dataclass(frozen=True, slots=True)
class Difference:
    path: str
    """`pipeline.vip[10.0.0.9/24].interface`, or `file bin/start`."""
    sign: Sign
    old: Any = None
    new: Any = None


def differences(before: Files, after: Files) -> list[Difference]:
    """Of the module files with what they include, and of the files beside them. ConfigErrors for a module file that
    cannot be read."""
    old, new = (merge(read(files[MODULE_FILE], MODULE_FILE), files).value for files in (before, after))
    return [*_of(old, new, ""), *_of_files(before, after)]


def _of(old: Any, new: Any, path: str) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _of_keys(old, new, f"{path}." if path else "")
    elif isinstance(old, list) and isinstance(new, list) and old != new:
        one, other = _named(old), _named(new)
        yield from _of_keys(one, other, path)
        stayed = [name for name in one if name in other]
        if stayed != [name for name in other if name in one]:
            yield Difference(path, "move", ", ".join(one), ", ".join(other))
    elif old != new or type(old) is not type(new):
        yield Difference(path, "change", old, new)


def _of_keys(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Difference]:
    for key in dict.fromkeys((*old, *new)):
        if key not in new:
            yield Difference(f"{path}{key}", "remove", old=old[key])
        elif key not in old:
            yield Difference(f"{path}{key}", "add", new=new[key])
        else:
            yield from _of(old[key], new[key], f"{path}{key}")


def _named(entries: list[Any]) -> dict[str, Any]:
    """A list's entries by what tells them apart, so that one that was put in does not change all after it."""
    found: dict[str, Any] = {}
    for entry in entries:
        name, content = _name(entry)
        number = sum(1 for known in found if known == name or known.startswith(f"{name}#"))
        found[f"{name}#{number + 1}" if number else name] = content
    return found


def _name(entry: Any) -> tuple[str, Any]:
    if isinstance(entry, Mapping) and len(entry) == 1:
        plugin, settings = next(iter(entry.items()))
        given = settings if isinstance(settings, Mapping) else {}
        told = next((str(given[key]) for key in _NAMING if key in given), "")
        return f".{plugin}[{told}]" if told else f".{plugin}", settings
    text = entry.get("rule", "") if isinstance(entry, Mapping) else entry
    label = text.partition(":")[0].strip() if isinstance(text, str) and ":" in text else str(entry)
    return f"[{label[:80]}]", entry


def _of_files(before: Files, after: Files) -> Iterator[Difference]:
    for path in sorted({*before, *after} - {MODULE_FILE}):
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            yield Difference(f"file {path}", "add" if old is None else "remove", _size(old), _size(new))
        elif old != new:
            yield Difference(f"file {path}", "change", _size(old), _size(new))


def _size(content: bytes | None) -> str | None:
    return None if content is None else f"{len(content)} bytes"
