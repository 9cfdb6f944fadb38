"""What the command `safekit plugins check` asks for is on the page that tells authors of it."""

from __future__ import annotations

import re

from workspace import ROOT

from safekit.plugins.quality import CRITERIA
from safekit.plugins.quality.judging import RUNS


def test_the_page_on_plugins_tells_every_criterion() -> None:
    page = (ROOT / "docs/how-to/write-a-plugin.md").read_text()
    told = re.findall(r"^\| (?:bronze|silver|gold|) ?\| `([\w-]+)` \|", page, re.MULTILINE)
    assert sorted(told) == sorted([one.name for one in CRITERIA] + [run[0].name for run in RUNS])
