"""What of a guest `rfs` is told to keep on one node: the other would start without it, or with an old one."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Final

from safekit_resource_kvm_vm.config import KvmVmConfig
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.guard import Guard
from safekit_resource_kvm_vm.memory import MemoryFile
from safekit_sdk import Context

RFS: Final = "rfs"


def hidden(config: KvmVmConfig, context: Context, definition: Definition | None) -> Iterator[str]:
    """A sentence for each pattern of the directory's `exclude` that holds a file of the guest."""
    for plugin, settings in context.pipeline:
        directory = Path(str(settings.get("directory", "")))
        if plugin == RFS and config.directory.is_relative_to(directory):
            named = [(path.relative_to(directory), what) for path, what in _named(config, definition, directory)]
            for pattern in map(str, settings.get("exclude", ())):
                if found := next((what for path, what in named if _holds(pattern, path)), ""):
                    yield f"`exclude: {pattern}` of {RFS} keeps {found} from the other node; make it narrower"


def _named(config: KvmVmConfig, definition: Definition | None, directory: Path) -> Iterator[tuple[Path, str]]:
    yield Guard(config, "").claim_path, "the record of the last start"
    memory = MemoryFile(config.directory, config.domain)
    yield from ((path, "the memory of a guest that moves") for path in memory.examples())
    yield config.definition, "the guest's definition"
    for path in definition.written if definition else ():
        if path.is_relative_to(directory):
            yield path, f"{path.name}, which the guest writes,"


def _holds(pattern: str, path: PurePath) -> bool:
    """As rfs reads it: without a slash it is a name anywhere, with slashes a path from the directory on; what is below
    something excluded is excluded."""
    words: Sequence[str] = pattern.split("/")
    if len(words) == 1:
        return any(fnmatch.fnmatchcase(part, pattern) for part in path.parts)
    return len(path.parts) >= len(words) and all(map(fnmatch.fnmatchcase, path.parts, words))
