"""A data directory for each test, in memory where the machine has room there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgresql_app import database
from postgresql_app.database import Database

PLACE = "/dev/shm" if Path("/dev/shm").is_dir() else "/tmp"


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pg-", dir=PLACE) as place:
        yield database.make_template(Path(place))


@pytest.fixture
def base(template: Path) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="pg-", dir=PLACE) as place:
        yield database.copy(template, Path(place))
