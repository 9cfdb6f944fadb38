"""The page of faults names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = next(folder for folder in HERE.parents if (folder / "docs/reference/rfs-faults.md").exists())
NAMED = re.compile(r"`(\S+\.py)::(\w+)`")


def test_every_fault_names_tests_and_each_of_them_exists() -> None:
    page = (ROOT / "docs/reference/rfs-faults.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| fault", "| what"))]
    assert len(lines) > 30
    for line in lines:
        named = NAMED.findall(line)
        assert named, line
        for path, name in named:
            place = ROOT / path if "/" in path else HERE / path
            assert re.search(rf"^(async )?def {name}\(", place.read_text(), re.MULTILINE), (path, name)
