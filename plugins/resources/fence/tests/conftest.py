"""Modules beside the tests can be imported by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from fence_power import Power, a_power


@pytest.fixture
def power(tmp_path: Path) -> Iterator[Power]:
    with a_power(tmp_path / "power") as power:
        yield power
