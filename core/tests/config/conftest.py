"""Fixtures for the tests of the configuration."""

from __future__ import annotations

import runpy
from pathlib import Path

distributions = runpy.run_path(str(Path(__file__).parents[1] / "plugins" / "distributions.py"))["distributions"]
