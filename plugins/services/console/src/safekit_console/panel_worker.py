"""The process in which panels of installed packages are made: one line of JSON in, one line out. It is ended from
outside when it takes too long, and by the kernel when it wants too much memory."""

from __future__ import annotations

import json
import os
import resource
import sys
from importlib.metadata import entry_points
from typing import Final, TextIO

from safekit_sdk.panels import GROUP, ModuleFacts, Panel, PanelMaker
from safekit_sdk.parentage import end_with_parent

MEMORY_BYTES: Final = 1 << 30
"""Of address space; what is used is a small part of it."""
LOADED: dict[str, PanelMaker] = {}


def make(name: str, facts: ModuleFacts) -> Panel | None:
    if name not in LOADED:
        (entry,) = entry_points(group=GROUP, name=name)
        LOADED[name] = entry.load()
    found = LOADED[name](facts)
    return None if found is None else Panel.model_validate(found)


def answer(line: str) -> str:
    try:
        asked = json.loads(line)
        panel = make(asked["name"], ModuleFacts.model_validate(asked["facts"]))
        return json.dumps({"panel": None if panel is None else panel.model_dump(mode="json")})
    except BaseException as error:  # whatever a plugin raises is told, also what is meant to end a process
        return json.dumps({"error": f"{type(error).__name__}: {error}"[:500]})


def _bound() -> None:
    end_with_parent()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _own_output() -> TextIO:
    """What a plugin prints goes to nobody."""
    kept = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return kept


def main() -> None:
    output = _own_output()
    _bound()
    for line in sys.stdin:
        output.write(answer(line) + "\n")
        output.flush()


if __name__ == "__main__":
    main()
