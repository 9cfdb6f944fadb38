"""Every rule catches what it is for, and lets good code pass."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import pytest
import rules

Rule = Callable[[str], Iterator[str]]
LINES = "\n".join(["    pass"] * 70)
BAD: list[tuple[Rule, str]] = [
    (rules.long_functions, f"def f():\n{LINES}\n"),
    (rules.long_file, "x = 1\n" * 401),
    (rules.banners, "# ---- the second half\n"),
    (rules.banners, "########\n"),
    (rules.banners, "# == part ==\n"),
    (rules.shells, "subprocess.run(line, shell=True)\n"),
    (rules.shells, "subprocess.run(line, shell=flag)\n"),
    (rules.shells, "os.system(line)\n"),
    (rules.shells, "run = os.popen\n"),
    (rules.shells, "from subprocess import getoutput\n"),
    (rules.shells, "await asyncio.create_subprocess_shell(line)\n"),
    (rules.skips, "@pytest.mark.skip\ndef test_it(): ...\n"),
    (rules.skips, "@pytest.mark.skipif(True, reason='x')\ndef test_it(): ...\n"),
    (rules.skips, "def test_it():\n    pytest.skip('no')\n"),
    (rules.impurities, "import time\n"),
    (rules.impurities, "def f():\n    from random import choice\n"),
    (rules.impurities, "import safekit.bus\n"),
    (rules.impurities, "print('hello')\n"),
    (rules.impurities, "async def f(): ...\n"),
    (rules.impurities, "def f():\n    global x\n    x = 1\n"),
]
GOOD: list[tuple[Rule, str]] = [
    (rules.long_functions, f'def f():\n    """{LINES}"""\n'),
    (rules.long_file, "x = 1\n" * 400),
    (rules.banners, "# a -- b, and --option too\nx = '# ----'\n"),
    (rules.shells, "subprocess.run(['sh', 'file'], shell=False)\n"),
    (rules.skips, "skip = 1\n"),
    (rules.impurities, "from collections.abc import Mapping\nfrom safekit.engine.rules import Rule\n"),
]


@pytest.mark.parametrize(("rule", "source"), BAD)
def test_a_rule_catches_what_it_forbids(rule: Rule, source: str) -> None:
    ast.parse(source)
    assert list(rule(source))


@pytest.mark.parametrize(("rule", "source"), GOOD)
def test_a_rule_lets_good_code_pass(rule: Rule, source: str) -> None:
    assert list(rule(source)) == []


@pytest.mark.parametrize("name", ["utils", "helpers", "manager", "misc", "common", "_util", "Helper"])
def test_a_name_that_says_nothing_is_refused(name: str) -> None:
    assert rules.VAGUE.fullmatch(name)


@pytest.mark.parametrize("name", ["command", "mismatch", "communicate", "management"])
def test_a_name_that_says_something_is_not(name: str) -> None:
    assert not rules.VAGUE.fullmatch(name)


def test_a_string_is_a_mention_and_a_docstring_is_not() -> None:
    assert rules.mentions('path = "/dev/fuse"\n', "/dev/fuse")
    assert not rules.mentions('"""Opens /dev/fuse."""\n', "/dev/fuse")
