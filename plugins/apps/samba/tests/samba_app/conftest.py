"""A share for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from samba_app import shares
from samba_app.shares import Shares


@pytest.fixture
def base() -> Iterator[Shares]:
    with tempfile.TemporaryDirectory(prefix="smb-", dir="/tmp") as place:
        yield shares.make(Path(place))
