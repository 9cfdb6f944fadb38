"""Several processes at once, on two real nodes; `storm.py` does it for hours."""

from __future__ import annotations

from pathlib import Path

import pytest

from .storm import storm


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [
        ("write", 3),
        *(pytest.param(mode, 30, marks=pytest.mark.long) for mode in ("write", "ordered", "writeback")),
    ],
)
async def test_both_sides_are_the_same_after_a_storm(tmp_path: Path, mode: str, seconds: int) -> None:
    assert await storm(tmp_path, 1, seconds, mode) == []
