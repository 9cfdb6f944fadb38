"""Give every package of the workspace one version, and date the changelog: `make bump VERSION=1.2.3`."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

from workspace import ROOT, Package, packages

VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


def bump(version: str, today: datetime.date) -> list[Path]:
    """Return the files that changed. What was unreleased in the changelog belongs to a new version from now on."""
    is_new = any(package.manifest["project"]["version"] != version for package in packages())
    changed = [path for package in packages() for path in _bump_package(package, version)]
    heading = f"## Unreleased\n\n## {version} ({today.isoformat()})\n"
    return changed + (_replace(ROOT / "CHANGELOG.md", r"## Unreleased\n", heading) if is_new else [])


def _bump_package(package: Package, version: str) -> list[Path]:
    manifest = package.path / "pyproject.toml"
    changed = _replace(manifest, r'(?m)^version = "[^"]*"$', f'version = "{version}"')
    for requirement in package.own_requirements:
        lockstep = f"{requirement.partition('=')[0]}=={version}"
        changed += _replace(manifest, rf'(?m)^(?!name)(.*)"{re.escape(requirement)}"', rf'\g<1>"{lockstep}"')
    init = package.source / "__init__.py"
    if init.is_file():
        changed += _replace(init, r'(?m)^__version__ = "[^"]*"$', f'__version__ = "{version}"')
    return sorted(set(changed))


def _replace(path: Path, pattern: str, replacement: str) -> list[Path]:
    before = path.read_text()
    after = re.sub(pattern, replacement, before)
    if after == before:
        return []
    path.write_text(after)
    return [path]


def main() -> None:
    version = sys.argv[1] if len(sys.argv) == 2 else ""
    if not VERSION.fullmatch(version):
        sys.exit(f"'{version}' is not a version: make bump VERSION=1.2.3")
    for path in bump(version, datetime.datetime.now(tz=datetime.UTC).date()):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
