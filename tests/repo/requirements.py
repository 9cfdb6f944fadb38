"""Print the third-party requirements of the whole workspace: what `make constraints` pins."""

from __future__ import annotations

from workspace import is_own, packages, root_manifest


def requirements() -> list[str]:
    """Of every package and its extras, of their build systems, and the tools of the root pyproject.toml."""
    found: set[str] = set(root_manifest()["dependency-groups"]["dev"])
    for package in packages():
        found.update(package.requirements, *package.extras.values(), package.manifest["build-system"]["requires"])
    return sorted((one for one in found if not is_own(one)), key=str.lower)


if __name__ == "__main__":
    print("\n".join(requirements()))
