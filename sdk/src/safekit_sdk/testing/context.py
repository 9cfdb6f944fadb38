"""A context for a plugin under test, which remembers what the plugin said."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safekit_sdk.plugin import Context


@dataclass(frozen=True, slots=True)
class RecordingContext(Context):
    """What a plugin gets in a test. Its own `log` and `set_value` write to `lines` and `values`."""

    lines: list[str] = field(default_factory=list)
    """What it logged, in order."""
    values: dict[str, str] = field(default_factory=dict)
    """The last value of each resource value that it published."""


def a_context(tmp_path: Path, **overrides: Any) -> RecordingContext:
    """A context in a mirror module of node `node1` whose directories are made below tmp_path, mode 0700.
    An override is any field of Context.

    The module's name is derived from tmp_path, so that the processes of tests that run at the same time never have
    the same marker."""
    lines: list[str] = []
    values: dict[str, str] = {}
    given: dict[str, Any] = {
        "module": f"test-{hashlib.sha256(bytes(tmp_path)).hexdigest()[:10]}",
        "kind": "mirror",
        "node": "node1",
        "name": "default",
        "state_dir": tmp_path / "state",
        "run_dir": tmp_path / "run",
        "log": lines.append,
        "set_value": values.__setitem__,
    }
    context = RecordingContext(**{**given, **overrides}, lines=lines, values=values)
    for directory in (context.state_dir, context.run_dir):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return context
