"""The packages of this repository, as its folders say. Standard library only: it runs before anything is installed."""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("checkers", "resources", "apps", "witnesses", "services")
OWN = "safekit"
"""Every distribution of ours is called this, or begins with it and a hyphen."""


@dataclass(frozen=True, slots=True)
class Package:
    directory: str
    """Relative to the root: `plugins/checkers/tcp`."""
    manifest: dict[str, Any]
    """Its pyproject.toml."""

    @property
    def path(self) -> Path:
        return ROOT / self.directory

    @property
    def name(self) -> str:
        """The distribution: `safekit-checker-tcp`."""
        return str(self.manifest["project"]["name"])

    @property
    def import_name(self) -> str:
        return self.name.replace("-", "_")

    @property
    def source(self) -> Path:
        return self.path / "src" / self.import_name

    @property
    def is_plugin(self) -> bool:
        return self.directory.startswith("plugins/")

    @property
    def requirements(self) -> list[str]:
        return list(self.manifest["project"].get("dependencies", ()))

    @property
    def own_requirements(self) -> list[str]:
        """Those on other packages of this repository, in its extras too."""
        every = [*self.requirements, *(one for extra in self.extras.values() for one in extra)]
        return [one for one in every if is_own(one)]

    @property
    def extras(self) -> dict[str, list[str]]:
        return dict(self.manifest["project"].get("optional-dependencies", {}))

    @property
    def entry_points(self) -> dict[str, dict[str, str]]:
        return dict(self.manifest["project"].get("entry-points", {}))


def directories() -> list[str]:
    """The folders that have a pyproject.toml, core and the SDK first."""
    plugins = (path for kind in KINDS for path in (ROOT / "plugins" / kind).glob("*/pyproject.toml"))
    return ["core", "sdk", *sorted(str(path.parent.relative_to(ROOT)) for path in plugins)]


@cache
def packages() -> tuple[Package, ...]:
    return tuple(Package(directory, read_toml(ROOT / directory / "pyproject.toml")) for directory in directories())


@cache
def root_manifest() -> dict[str, Any]:
    return read_toml(ROOT / "pyproject.toml")


def read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def is_own(requirement: str) -> bool:
    """Whether a requirement such as `safekit-sdk>=1` names a package of this repository."""
    return distribution(requirement) == OWN or distribution(requirement).startswith(f"{OWN}-")


def distribution(requirement: str) -> str:
    """The normalised name in `Some.Name[extra]>=1; marker`."""
    end = next((i for i, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), len(requirement))
    return requirement[:end].lower().replace("_", "-").replace(".", "-")


@cache
def tracked() -> tuple[Path, ...]:
    """The files of the repository: committed, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / name for name in sorted(set(listed.stdout.split("\0"))) if name)
    return tuple(path for path in paths if path.is_file())
