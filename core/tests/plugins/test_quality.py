"""A new package from the scaffold is gold; each thing that a tier asks for is missed when it is taken away."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from safekit.plugins.quality import CRITERIA, Outcome, Subject, Tier, gather, judge, reached
from safekit_sdk.scaffold import new
from safekit_sdk.testing.distribution import install_distribution

Install = Callable[..., tuple[str, Path]]
Edit = tuple[str, str, str]
"""A file of the package, what is in it, and what is there instead."""
CODE = "src/safekit_checker_file_age/__init__.py"
TEST = "tests/test_file_age.py"
HEAD = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: safekit-sdk\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A package from the scaffold, changed, as pip would have installed it from its folder."""

    def made(kind: Any, name: str, *edits: Edit, source: bool = True) -> tuple[str, Path]:
        folder = new(kind, name, tmp_path)
        for place, before, after in edits:
            text = (folder / place).read_text()
            assert before in text
            (folder / place).write_text(text.replace(before, after))
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        site = folder / "src"
        install_distribution(site, project["name"], project["entry-points"], project["version"])
        (info,) = site.glob("*.dist-info")
        (info / "METADATA").write_text(f"{HEAD.format(**project)}\n{(folder / 'README.md').read_text()}")
        if source:
            (info / "direct_url.json").write_text(json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}}))
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
        return project["name"], folder

    yield made


def missed(subject: Subject) -> dict[str, str]:
    return {
        one.criterion.name: "; ".join(one.troubles) for one in judge(subject, run=False) if one.outcome != Outcome.MET
    }


@pytest.mark.parametrize(("kind", "name"), [("checker", "file-age"), ("resource", "marker"), ("app", "program")])
def test_what_the_scaffold_makes_is_gold(install: Install, kind: str, name: str) -> None:
    package, folder = install(kind, name)
    subject = gather(package)
    assert subject.folder == folder
    assert missed(subject) == {}
    assert reached(judge(subject, run=False)) is Tier.GOLD


SHORT = {0, 1, 4, 6, 8, 12}
"""Those that are tried each time; each takes a process."""
LACKS: list[tuple[str, Edit, str]] = [
    ("loads", (CODE, "api=1", "api=9"), "was written for SDK API 9; this node has 1"),
    ("loads", (CODE, "import asyncio\n", "import os; os._exit(4)\n"), "ends the process that loads it (exit code 4)"),
    ("sdk-only", (CODE, "import asyncio\n", "import asyncio\nimport safekit.bus\n"), "imports safekit.bus"),
    ("readme", ("README.md", "# safekit-checker-file-age", "# something"), "does not begin with"),
    ("readme", ("README.md", "file-age:", "other:"), "the README has no example"),
    ("readme", ("README.md", "max_age:", "maximal_age:"), "an example of the README is refused"),
    ("keys", ("README.md", "`path`", "the path"), "the README does not tell `path`"),
    ("keys", (CODE, '"""The file, on a local disk."""', ""), "the setting `path` has no docstring"),
    ("conformance", (TEST, "plugin = FileAgeChecker", "plugin = Other"), "no test gives FileAgeChecker to a suite"),
    ("real", (TEST, "import os\n", "import os\nimport unittest.mock\n"), "imports unittest.mock"),
    ("real", (TEST, "import os\n", "import os\npytest.mark.skip\n"), "has pytest.mark.skip"),
    (
        "hints",
        (CODE, "import asyncio\n", "import asyncio\ndef no():\n    raise ConfigError(1)\n    raise ConfigError(2)\n"),
        "2 of 2 errors",
    ),
    ("bounded", (CODE, "import asyncio\n", "import asyncio\nqueue = asyncio.Queue()\n"), "without a bound"),
    ("bounded", (CODE, "import asyncio\n", "import asyncio\ndef x(): subprocess.run(['x'])\n"), "without a timeout"),
    ("facts", (CODE, "facts: ClassVar", "data: ClassVar"), "does not say what its verdicts carry"),
]


@pytest.mark.parametrize(
    ("name", "edit", "said"),
    [
        pytest.param(*lack, id=f"{lack[0]}-{number}", marks=() if number in SHORT else pytest.mark.long)
        for number, lack in enumerate(LACKS)
    ],
)
def test_what_is_taken_away_is_missed(install: Install, name: str, edit: Edit, said: str) -> None:
    package, _ = install("checker", "file-age", edit)
    found = missed(gather(package))
    assert said in found[name]


def test_a_tier_is_reached_only_with_those_before_it(install: Install) -> None:
    package, folder = install("checker", "file-age", (TEST, "import os\n", "import os\nimport unittest.mock\n"))
    assert reached(judge(gather(package), run=False)) is Tier.BRONZE
    (folder / "README.md").write_text("# something")
    assert reached(judge(gather(package), run=False)) is None


def test_without_its_tests_nobody_can_say(install: Install) -> None:
    package, folder = install("checker", "file-age", source=False)
    unseen = {one.criterion.name for one in judge(gather(package), run=False) if one.outcome is Outcome.UNSEEN}
    assert unseen == {criterion.name for criterion in CRITERIA if criterion.needs_tests}
    assert missed(gather(package, folder)) == {}


@pytest.mark.long
def test_its_tests_and_its_types_are_tried(install: Install) -> None:
    package, folder = install("checker", "file-age")
    assert reached(judge(gather(package), run=True)) is Tier.GOLD
    (folder / TEST).write_text("def test_it() -> None:\n    assert False\n")
    (folder / CODE).write_text((folder / CODE).read_text() + "\nx: int = ''\n")
    failed = {
        one.criterion.name: one.troubles for one in judge(gather(package), run=True) if one.outcome is Outcome.MISSED
    }
    assert "1 failed" in failed["tests"][0]
    assert "Incompatible types in assignment" in failed["mypy"][0]
