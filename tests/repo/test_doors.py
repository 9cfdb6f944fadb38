"""One way in: what touches the outside world is imported by one package, in one place.

stevedore, pluggy and zmq are import-linter's (root pyproject.toml); here is what it cannot see."""

from __future__ import annotations

from pathlib import Path

import pytest
import rules
from workspace import ROOT, packages, tracked

LIBRARIES = {
    "nftables": ({"nftables", "pynftables"}, "libnftables"),
    "FUSE": ({"fuse", "pyfuse3", "llfuse", "mfusepy", "refuse"}, "/dev/fuse"),
}
"""Modules that give access to it, and what one finds in the code that goes without them."""


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_touches_the_world_is_behind_one_door(name: str) -> None:
    modules, sign = LIBRARIES[name]
    doors = {door(path) for path in sources() if opens(path.read_text(), modules, sign)}
    assert len(doors) <= 1, doors


def sources() -> list[Path]:
    return [
        path for path in tracked() if path.suffix == ".py" and any(path.is_relative_to(p.source) for p in packages())
    ]


def door(path: Path) -> str:
    """The module, or the package below a distribution's own that it belongs to."""
    package = next(p for p in packages() if path.is_relative_to(p.source))
    return f"{package.directory}: {path.relative_to(package.source).parts[0]}"


def opens(source: str, modules: set[str], sign: str) -> bool:
    return any(one.top in modules for one in rules.imports(source)) or rules.mentions(source, sign)


def test_a_door_is_seen_by_an_import_and_by_a_name() -> None:
    assert opens("import pyfuse3\n", *LIBRARIES["FUSE"])
    assert opens('os.open("/dev/fuse", os.O_RDWR)\n', *LIBRARIES["FUSE"])
    assert not opens('"""Speaks with /dev/fuse."""\nimport os\n', *LIBRARIES["FUSE"])
    assert door(ROOT / "core/src/safekit/bus/keys.py") == "core: bus"
