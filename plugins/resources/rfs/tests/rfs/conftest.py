"""Two nodes for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .cluster import Node, two_nodes


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    """Started and introduced; neither is primary."""
    async with two_nodes(tmp_path) as nodes:
        yield nodes
