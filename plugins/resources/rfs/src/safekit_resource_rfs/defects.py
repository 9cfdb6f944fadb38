"""Defects upon which the process ends, as going on could make the two sides differ for ever.

What it modified was marked before, durably. The engine starts the data path again, and what is marked is compared."""

from __future__ import annotations

import logging
import os
from types import TracebackType
from typing import Final, NoReturn

_LOG: Final = logging.getLogger(__name__)
EXIT_STATUS: Final = 70
"""Of no other end of the data path."""


def end_process(what: str, error: BaseException) -> NoReturn:
    """At once: nothing is answered, recorded or cleared any more."""
    _LOG.critical("a defect %s: the data path ends, and what it marked is compared afterwards", what, exc_info=error)
    os._exit(EXIT_STATUS)


class _Ending:
    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            end_process(self._what, error)


UNRECORDED: Final = _Ending("between the execution of a modification and its record")
"""`with` it from the first system call of a modification that was executed until `record` has returned. No exception
leaves it, an OSError neither."""
STEP: Final = "in a step of the state machine"
"""What broke off there is no state from which anything follows."""
