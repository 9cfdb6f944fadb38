"""Give every package of the workspace one version, and date the changelog: `make bump VERSION=1.2.3`."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

from workspace import ROOT, Package, packages

VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


def bump(version: str, today: datetime.date) -> list[Path]:
    """Return the files that changed."""
    changed = [path for package in packages() for path in _bump_package(package, version)]
    changelog = ROOT / "CHANGELOG.md"
    heading = f"## Unreleased\n\n## {version} ({today.isoformat()})\n"
    return changed + _replace(changelog, r"## Unreleased\n", heading)


def _bump_package(package: Package, version: str) -> list[Path]:
    manifest = package.path / "pyproject.toml"
    changed = _replace(manifest, r'(?m)^version = "[^"]*"$', f'version = "{version}"')
    for requirement in package.own_requirements:
        lockstep = f"{requirement.partition('=')[0]}=={version}"
        changed += _replace(manifest, rf'(?m)^(?!name)(.*)"{re.escape(requirement)}"', rf'\g<1>"{lockstep}"')
    changed += _replace(package.source / "__init__.py", r'(?m)^__version__ = "[^"]*"$', f'__version__ = "{version}"')
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
