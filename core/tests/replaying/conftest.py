from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .recorded import Records


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    made = Records(tmp_path, monkeypatch)
    yield made
    made.close()
