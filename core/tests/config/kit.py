"""What the tests of the compiler share."""

from __future__ import annotations

import pytest

from safekit.config.compiled import CompiledModule
from safekit.config.compiler import compile_module
from safekit.config.errors import ConfigErrors

NODES = ("n1", "n2")
FILE = "web/module.yaml"


def compiled(text: str, nodes: tuple[str, ...] = NODES) -> CompiledModule:
    return compile_module(text, FILE, nodes, "web")


def mistakes(text: str | bytes, nodes: tuple[str, ...] = NODES) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        compile_module(text, FILE, nodes, "web")
    return [str(error) for error in caught.value.errors]


def told(where: str, message: str, hint: str = "") -> str:
    """One mistake as the operator reads it."""
    return f"{FILE}:{where}: {message}" + (f"\n  to do: {hint}" if hint else "")
