"""Modules beside the tests can be imported by name, here and in the processes that a suite starts."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
