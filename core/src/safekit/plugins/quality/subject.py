"""What there is of a package to judge: its metadata, sources, tests, and what its classes say in another process."""

from __future__ import annotations

import ast
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from safekit.plugins.discovery import GROUPS, distribution, readme
from safekit.plugins.sources import MAX_FILES, source_files, syntax
from safekit_sdk import ConfigError

PROBE_S: Final = 30.0
PROBE_BYTES: Final = 1 << 30
"""The memory that loading the package may take."""
MAX_PROBE_CHARS: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one entry point turned out to be."""

    group: str
    name: str
    class_name: str
    trouble: str = ""
    undescribed: tuple[str, ...] = ()
    """Own settings without a docstring."""
    keys: tuple[str, ...] = ()
    """Own settings."""
    is_strict: bool = True
    """Whether it refuses settings that it does not know."""
    is_step: bool = True
    """False for an application that only writes module files."""
    examines: bool = False
    tells_facts: bool = False
    examples: int = 0
    """Entries of the README that its model takes."""
    bad_examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    name: str
    version: str
    requires: tuple[str, ...]
    readme: str
    sources: tuple[Path, ...]
    loaded: tuple[Loaded, ...]
    folder: Path | None
    """Where it was built from, with its tests, if that is known."""

    @property
    def has_tests(self) -> bool:
        return self.folder is not None and (self.folder / "tests").is_dir()

    def trees(self) -> list[tuple[Path, ast.Module]]:
        return _trees(self.sources)

    def tests(self) -> list[tuple[Path, ast.Module]]:
        if self.folder is None:
            return []
        found = sorted((self.folder / "tests").rglob("*.py"))[:MAX_FILES]
        return _trees(tuple(found))

    def of(self, *groups: str) -> list[Loaded]:
        return [one for one in self.loaded if one.group in groups]


def _trees(paths: tuple[Path, ...]) -> list[tuple[Path, ast.Module]]:
    return [(path, tree) for path in paths if (tree := syntax(path)) is not None]


def gather(name: str, folder: Path | None = None) -> Subject:
    """ConfigError when no such package is installed."""
    dist = distribution(name)
    entries = [entry for entry in dist.entry_points if entry.group in GROUPS]
    modules = {entry.module.partition(".")[0] for entry in entries}
    folder = folder or _built_from(dist)
    text = _readme(dist.name, folder)
    return Subject(
        name=dist.name,
        version=dist.version,
        requires=tuple(dist.requires or ()),
        readme=text,
        sources=tuple(path for module in sorted(modules) for path in source_files(module)),
        loaded=tuple(_load(entry.group, entry.name, entry.attr, text) for entry in entries),
        folder=folder,
    )


def _built_from(dist: Distribution) -> Path | None:
    """PEP 610: where pip installed it from, when that was a folder."""
    try:
        url = urlsplit(json.loads(dist.read_text("direct_url.json") or "{}").get("url", ""))
    except (ValueError, AttributeError):
        return None
    folder = Path(unquote(url.path))
    return folder if url.scheme == "file" and (folder / "pyproject.toml").is_file() else None


def _readme(name: str, folder: Path | None) -> str:
    """As it is where the package is built from: the metadata of an editable package have it as it was."""
    try:
        return (folder / "README.md").read_text(encoding="utf-8") if folder else readme(name)
    except (OSError, ConfigError):
        return ""


def _load(group: str, name: str, class_name: str, text: str) -> Loaded:
    """In a process of its own: one that hangs, or ends it, spoils nothing."""
    argv = [sys.executable, "-m", "safekit.plugins.quality.probe", group, name]
    try:
        done = subprocess.run(
            argv,
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_S,
            check=False,
            start_new_session=True,
            preexec_fn=_bound,
        )
        told: dict[str, Any] = json.loads(done.stdout[-MAX_PROBE_CHARS:].splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Loaded(group, name, class_name, f"it is not loaded within {PROBE_S:g} s")
    except (ValueError, IndexError):
        return Loaded(group, name, class_name, f"it ends the process that loads it (exit code {done.returncode})")
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    return Loaded(group, name, class_name, **fields)


def _bound() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (PROBE_BYTES, PROBE_BYTES))
    os.nice(5)
