"""The checkers together, as a host runs them: each sees its fault, and none sees one that is not there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import checkers
import pytest

pytestmark = pytest.mark.system
SECONDS = 20.0
BURNERS = 6
KINDS = 12


def test_every_fault_is_told_by_the_checker_that_is_for_it(tmp_path: Path) -> None:
    with checkers.two_machines() as there:
        measured = asyncio.run(checkers.measure(tmp_path, there, runs=1))
    assert len(measured) == KINDS


@pytest.mark.long
def test_no_verdict_is_false_where_other_programs_want_every_processor(tmp_path: Path) -> None:
    """One bad answer counts here, and a look may take two seconds: stricter than any default."""
    with checkers.two_machines() as there:
        downs, up = asyncio.run(checkers.endure(tmp_path, there, SECONDS, BURNERS))
    assert (downs, up) == ([], KINDS)
