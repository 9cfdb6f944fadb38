"""An installed distribution in miniature: metadata that names plugins, for tests of what finds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install_distribution(
    directory: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], version: str = "0"
) -> Path:
    """Write NAME-VERSION.dist-info with these entry points (group to name to `module:Class`) into the directory.
    It counts as installed for whoever has the directory in sys.path. Returns the directory."""
    info = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: safekit-sdk\n"
    (info / "METADATA").write_text(f"{head}\n# {name}\n\nMade by a test.\n", encoding="utf-8")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in of.items()) for group, of in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    (info / "INSTALLER").write_text("safekit-sdk\n", encoding="utf-8")
    return directory
