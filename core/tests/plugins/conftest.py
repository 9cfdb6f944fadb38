"""Fixtures for the tests of plugins."""

from __future__ import annotations

import runpy
from pathlib import Path

distributions = runpy.run_path(str(Path(__file__).with_name("distributions.py")))["distributions"]
