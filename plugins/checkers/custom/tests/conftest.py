"""Real programs that a test writes, a cgroup of its own, and what of them is left on the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from safekit_sdk.testing.groups import a_cgroup
from safekit_sdk.testing.programs import a_sign, with_argument, write_program

Write = Callable[[str], Path]


@pytest.fixture
def program(tmp_path: Path) -> Write:
    """Write one: a shell's, or Python's when it begins with `import`."""
    return partial(write_program, tmp_path)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    with a_cgroup() as path:
        assert path is not None, "cgroup v2 is not mounted, or not writable"
        yield path


@pytest.fixture
def sign() -> Iterator[str]:
    with a_sign() as sign:
        yield sign


@pytest.fixture
def found() -> Callable[[str], list[int]]:
    return with_argument
