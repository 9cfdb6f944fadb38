"""A file with two names, one of which goes: what was changed by that one is found by the other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .cluster import introduce, mirrored, two_nodes
from .trees import differences

ALTER: dict[str, Callable[[Path], object]] = {
    "mode": lambda path: path.chmod(0o600),
    "xattr": lambda path: os.setxattr(path, "user.a", b"b"),
    "time": lambda path: os.utime(path, (1e9, 1e9)),
    "anew": lambda path: path.write_text("anew"),
}
OLDER_S = 2.5
"""Then the marks are older than what is marked from now on."""


@pytest.mark.parametrize("what", ALTER)
async def test_what_is_altered_by_a_name_that_goes_is_found_by_the_other(tmp_path: Path, what: str) -> None:
    async with two_nodes(tmp_path, checkpoint="100ms") as (one, two):
        await mirrored(one, two)
        for name in "AB":
            (one.directory / name).mkdir()
        (one.directory / "A/x").write_text("content")
        os.link(one.directory / "A/x", one.directory / "B/y")
        await one.becomes(marks=0)
        await two.becomes(marks=0)
        await asyncio.sleep(OLDER_S)
        await two.kill()
        await one.stand_alone(2)
        ALTER[what](one.directory / "A/x")
        (one.directory / "A/x").unlink()
        await two.start()
        await introduce(one, two)
        await one.pair(2)
        await two.becomes(up_to_date=True, epoch=2)
        await one.stop()
        await two.stop()
        assert differences(one.directory, two.directory) == []
