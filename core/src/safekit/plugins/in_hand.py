"""Which plugin's code runs at the moment, said before it runs: what hangs or ends the process cannot say so itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _nobody(_label: str) -> None:
    """Stand-in for who watches this process."""


_tell: Callable[[str], None] = _nobody
_now: list[str] = [""]
"""What runs, inside what."""


def tell_to(watcher: Callable[[str], None]) -> None:
    """From now on tell the watcher of this process: what runs, and an empty text when it is over."""
    global _tell  # noqa: PLW0603 - of the process, as what it is told of
    _tell = watcher


@contextmanager
def in_hand(label: str) -> Iterator[None]:
    """While this plugin's code runs; `label` names it with its package."""
    _now.append(label)
    _tell(label)
    try:
        yield
    finally:
        _now.pop()
        _tell(_now[-1])
