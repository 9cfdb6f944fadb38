"""The secrets of this node, so that none is handed on: its keys and tokens, and what configurations refer to."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from safekit.settings import Settings

SECRET_BYTES: Final = 64 << 10
FILES: Final = 500
_ENVIRONMENT: Final = re.compile(r"env:([A-Za-z_]\w*)")
"""A secret from the environment, and `%env:NAME%`."""
_FILE: Final = re.compile(r"file:(/[^\s\"',;}\]]+)")
_RANDOM: Final = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])\S{8,}")
"""A word that a person would not write."""
_NAMED: Final = re.compile(r"pass|secret|token|api_?key|credential", re.IGNORECASE)
_KEY_FILE: Final = re.compile(
    r"pass|secret|token|credential|\.(key|pem|p12|pfx|jks)$|(^|/)\.?(netrc|pgpass|my\.cnf)$", re.IGNORECASE
)


def known_secrets(settings: Settings, texts: Iterable[str], environment: Mapping[str, str]) -> set[str]:
    """`texts`: the configurations, in which places of secrets are named."""
    found: set[str] = {value for name, value in environment.items() if _NAMED.search(name)}
    for text in texts:
        found |= {environment[name] for name in _ENVIRONMENT.findall(text) if name in environment}
        for place in _FILE.findall(text):
            found |= set(_lines(Path(place)))
    for path in _private(settings):
        found |= set(_lines(path))
    return found - set(_public(settings.key_file))


def _public(key_file: Path) -> list[str]:
    """The half of the node's key that stands in the cluster file."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return key_file.read_text(encoding="ascii").split()[:1]
    return []


def is_secret_file(path: str, content: bytes) -> bool:
    """Of a module's own files: by its name, or by what is in it."""
    return bool(_KEY_FILE.search(path)) or b"PRIVATE KEY-----" in content


def _private(settings: Settings) -> Iterator[Path]:
    """The node's key, tokens, what signs: files that others may not read. The modules' files are no secrets."""
    public = settings.cluster_file
    for path in [*_below(settings.etc), *_below(settings.var / "shared")][:FILES]:
        with contextlib.suppress(OSError):
            if path != public and not path.stat().st_mode & 0o077:
                yield path


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if "modules" not in path.relative_to(folder).parts)


def _lines(path: Path) -> Iterator[str]:
    """Each line is one, and so is the whole. Of JSON: each text in it that is long enough to be a secret."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return
            text = file.read(SECRET_BYTES).decode(errors="surrogateescape")
    except OSError:
        return
    with contextlib.suppress(ValueError):
        yield from (one for one in _texts(json.loads(text)) if len(one) >= 16)
        return
    yield text.strip()
    for line in text.splitlines():
        yield line.strip()
        yield from filter(_RANDOM.fullmatch, re.split(r"[\s=:\"']+", line))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for inner in value.values() for text in _texts(inner))
    elif isinstance(value, list):
        yield from (text for inner in value for text in _texts(inner))
