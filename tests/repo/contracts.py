"""Check who imports whom: the contracts of the root pyproject.toml, and one over every package there is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from importlinter.cli import lint_imports
from workspace import ROOT, packages, root_manifest

CONFIG = ROOT / "build" / "importlinter.toml"


def config() -> dict[str, Any]:
    """import-linter's settings, `contracts` among them."""
    settings = dict(root_manifest()["tool"]["importlinter"])
    settings["root_packages"] = [package.import_name for package in packages()]
    settings["contracts"] = [*settings["contracts"], _meet_in_the_sdk()]
    return settings


def _meet_in_the_sdk() -> dict[str, Any]:
    above = [package.import_name for package in packages() if package.import_name != "safekit_sdk"]
    return {
        "name": "core and every plugin import the SDK, none another, and the SDK none",
        "type": "layers",
        "layers": [" | ".join(above), "safekit_sdk"],
    }


def as_toml(settings: dict[str, Any]) -> str:
    return "\n".join(_lines(settings))


def _lines(settings: dict[str, Any]) -> Iterator[str]:
    yield "[tool.importlinter]"
    yield from (f"{key} = {json.dumps(value)}" for key, value in settings.items() if key != "contracts")
    for contract in settings["contracts"]:
        yield "[[tool.importlinter.contracts]]"
        yield from (f"{key} = {json.dumps(value)}" for key, value in contract.items())


def check(root: Path) -> int:
    """0 when the sources below this root keep every contract."""
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.write_text(as_toml(config()) + "\n")
    sys.path[:0] = [str(root / package.directory / "src") for package in packages()]
    return int(lint_imports(config_filename=str(CONFIG), no_cache=True, no_logo=True))


if __name__ == "__main__":
    sys.exit(check(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT))
