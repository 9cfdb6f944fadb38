"""The exit codes of the Resource Agent API, and what follows from each."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Code(IntEnum):
    OK = 0
    FAILED = 1
    ARGUMENTS = 2
    UNIMPLEMENTED = 3
    PERMISSIONS = 4
    NOT_INSTALLED = 5
    CONFIGURATION = 6
    NOT_RUNNING = 7
    PROMOTED = 8
    FAILED_PROMOTED = 9


_MEANINGS: Final = {
    Code.OK: "success",
    Code.FAILED: "an error that a restart may mend",
    Code.ARGUMENTS: "a parameter that it cannot use on this machine",
    Code.UNIMPLEMENTED: "an action that it does not have",
    Code.PERMISSIONS: "a lack of rights",
    Code.NOT_INSTALLED: "something that is not installed",
    Code.CONFIGURATION: "a configuration that it can use on no machine",
    Code.NOT_RUNNING: "not running",
    Code.PROMOTED: "running, promoted",
    Code.FAILED_PROMOTED: "failed while promoted",
}
_MENDS: Final = {
    Code.ARGUMENTS: "correct `parameters:`, or what they name on this machine",
    Code.UNIMPLEMENTED: "choose another agent, or do without this action",
    Code.PERMISSIONS: "give it the rights that it asks for",
    Code.NOT_INSTALLED: "install what it needs on this machine",
    Code.CONFIGURATION: "correct `parameters:`; the other nodes will fail in the same way",
}
RUNNING: Final = frozenset((Code.OK, Code.PROMOTED))
STOPPED: Final = frozenset((Code.NOT_RUNNING, Code.NOT_INSTALLED))
"""What a look may end with where nothing runs: what is not installed does not run either."""


def meaning(code: int) -> str:
    """`exit code 5, something that is not installed`."""
    known = _MEANINGS.get(Code(code)) if code in set(Code) else "which means nothing"
    return f"exit code {code}, {known}"


def mend(code: int | None) -> str:
    """What helps instead of a restart, after a hard or fatal error; else nothing."""
    found = _MENDS.get(Code(code)) if code in set(Code) else None
    return f"a restart does not help: {found}" if found else ""
