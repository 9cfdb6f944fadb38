"""A package's source files, found and read without importing any of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

MAX_FILES: Final = 500
MAX_SOURCE_BYTES: Final = 1 << 20
"""What is larger was not written by people, and is not read."""


def source_files(module: str) -> list[Path]:
    """The Python files of the top-level module or package that `module` lies in; none where it is no plain file."""
    spec = PathFinder.find_spec(module.partition(".")[0])
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [Path(spec.origin)] if spec.origin and spec.origin.endswith(".py") else []
    found = (path for place in spec.submodule_search_locations for path in sorted(Path(place).rglob("*.py")))
    return [path for _, path in zip(range(MAX_FILES), found, strict=False)]


def syntax(path: Path, naming: str = "") -> ast.Module | None:
    """Nothing for a file that is too large, unreadable, no Python, or that does not have the text `naming`."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SOURCE_BYTES + 1)
        return ast.parse(text) if len(text) <= MAX_SOURCE_BYTES and naming.encode() in text else None
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def declared_api(value: str) -> int | None:
    """The `api=` of the class that an entry point's `module:Class` names, as it is written; nothing where it is
    inherited, computed or not there."""
    module, _, attribute = (part.strip() for part in value.partition(":"))
    for path in source_files(module):
        tree = syntax(path, naming=f"class {attribute}")
        for found in _classes(tree) if tree is not None else ():
            if found.name == attribute:
                return next((api for keyword in found.keywords if (api := _number(keyword)) is not None), None)
    return None


def _classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def _number(keyword: ast.keyword) -> int | None:
    if keyword.arg != "api" or not isinstance(keyword.value, ast.Constant):
        return None
    return keyword.value.value if type(keyword.value.value) is int else None
