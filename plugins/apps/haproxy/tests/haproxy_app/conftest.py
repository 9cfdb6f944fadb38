"""A configuration for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from haproxy_app import balancer
from haproxy_app.balancer import Balancer


@pytest.fixture
def base(tmp_path: Path) -> Balancer:
    return balancer.make(tmp_path)
