"""What the daemon imports of the configuration brings no plugin machinery into its process."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import safekit.config.{module}
print([name for name in ("safekit.plugins", "stevedore", "lark") if name in sys.modules])
"""


@pytest.mark.parametrize("module", ["cluster", "compiled", "store", "plan"])
def test_the_daemons_part_imports_no_plugin_machinery(module: str) -> None:
    argv = [sys.executable, "-c", SCRIPT.replace("{module}", module)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"
