"""A few rounds of kills and stops; `crashes.py` plays them for hours."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from .crashes import crash

LASTS_S = 40


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "seed"), [("write", 1), ("ordered", 2), ("writeback", 3)])
async def test_what_programs_were_told_is_there_after_every_round(mode: str, seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="crashes-", dir="/var/tmp") as place:
        os.chmod(place, 0o755)  # noqa: PTH101 - a database's user goes through it
        rounds, wrong = await crash(Path(place), seed, time.monotonic() + LASTS_S, mode)
    assert not wrong
    assert rounds
