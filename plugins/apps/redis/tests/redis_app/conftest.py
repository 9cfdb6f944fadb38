"""A data directory for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from redis_app import database
from redis_app.database import Database


@pytest.fixture
def base() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="redis-", dir="/tmp") as place:
        yield database.make(Path(place))
