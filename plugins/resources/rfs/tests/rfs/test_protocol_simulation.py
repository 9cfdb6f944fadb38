"""Seeded histories of two nodes with everything going wrong that can."""

from __future__ import annotations

import os
import time

import pytest

from .faults_model import run_seed
from .world_model import SHIPPED


def test_nothing_acknowledged_is_lost_and_both_nodes_end_equal() -> None:
    pass
