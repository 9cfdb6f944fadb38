"""A short soak: random faults on real nodes. `make soak` plays for hours."""

from __future__ import annotations

import random
import time

import pytest
from soaking_files import files

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
SEED = 20261128
SECONDS = 45.0


def test_nothing_acknowledged_is_lost_nothing_runs_twice_and_all_comes_to_rest() -> None:
    with files(random.Random(SEED)) as found:
        until_s = time.monotonic() + SECONDS
        while time.monotonic() < until_s:
            found.play()
        found.rest()
        assert found.violations() == []
        assert found.acknowledged() > 100
