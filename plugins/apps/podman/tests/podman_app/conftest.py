"""One store for all tests of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from podman_app import box
from podman_app.box import Box


@pytest.fixture(scope="session")
def base() -> Iterator[Box]:
    with tempfile.TemporaryDirectory(prefix="box-", dir="/var/tmp") as place:
        made = box.make(Path(place))
        yield made
        box.remove(made)
