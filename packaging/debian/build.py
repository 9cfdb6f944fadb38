"""Build one Debian package of the whole: `build.py --wheels DIR [--wheels DIR …] --out DIR [PACKAGE …]`.

The wheels, ours and those of others, are installed into an environment that is /opt/safekit on the target, for its own
python3. Nothing is downloaded here. Needs dpkg-deb, and pip in the Python that runs this."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PREFIX = Path("/opt/safekit")
PYTHON = Path("/usr/bin/python3")
"""Of the target; this machine's has to be of the same version."""
COMMANDS = ("safekit", "safekit-console", "safekit-witness")
"""Found on the operator's path."""
SCRIPTS = ("postinst", "prerm", "postrm")
STEP_S = 600.0
CONTROL = """\
Package: safekit
Version: {version}
Architecture: {architecture}
Maintainer: safekit <safekit@localhost>
Installed-Size: {size_kib}
Section: admin
Priority: optional
Depends: python3 (>= {python}), python3 (<< {next_python}), passwd
Recommends: iproute2, iputils-arping, libnftables1, nftables
Description: high availability for plain servers
 Modules of services, addresses and replicated data that move between nodes: the engine,
 the command line, the console, the witness and all plugins, in an environment of their own.
"""
COPYRIGHT = """\
safekit is under the Apache License, version 2.0: /usr/share/common-licenses/Apache-2.0.
Each library in /opt/safekit has its own licence beside it, in its .dist-info directory.
"""


def run(argv: Sequence[str | Path]) -> str:
    done = subprocess.run(
        list(map(str, argv)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=STEP_S, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def install(root: Path, wheels: Iterable[Path], packages: Sequence[str]) -> None:
    """The environment below `root`, as it will be on the target."""
    place = root / PREFIX.relative_to("/")
    run([PYTHON, "-m", "venv", "--without-pip", place])
    links = [f"--find-links={folder}" for folder in wheels]
    options = ("--quiet", "--no-compile", "--no-index", *links)
    run([sys.executable, "-m", "pip", "--python", place / "bin/python", "install", *options, *packages])
    for path in [*(place / "bin").iterdir(), place / "pyvenv.cfg"]:
        move(path, place)
    run([PYTHON, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", "-s", root, "-p", "/", place / "lib"])


def move(path: Path, place: Path) -> None:
    """Programs begin with the path of their Python: the one on the target."""
    if path.is_symlink():
        return
    text = path.read_bytes()
    path.write_bytes(text.replace(os.fsencode(place), os.fsencode(PREFIX)))


def furnish(root: Path) -> None:
    """Units and the page about them, commands on the path, settings, the licence."""
    units = root / "lib/systemd/system"
    units.mkdir(parents=True)
    for unit in sorted((HERE.parent / "systemd").glob("*.service")):
        shutil.copyfile(unit, units / unit.name)
    commands = root / "usr/bin"
    commands.mkdir(parents=True)
    for name in COMMANDS:
        if (root / PREFIX.relative_to("/") / "bin" / name).exists():
            (commands / name).symlink_to(PREFIX / "bin" / name)
    settings = root / "etc/default"
    settings.mkdir(parents=True)
    shutil.copyfile(HERE / "default", settings / "safekit")
    doc = root / "usr/share/doc/safekit"
    doc.mkdir(parents=True)
    (doc / "copyright").write_text(COPYRIGHT)
    shutil.copyfile(HERE.parent.parent / "docs/how-to/real-servers.md", doc / "real-servers.md")


def describe(root: Path, version: str) -> str:
    """Write what dpkg reads; return the architecture."""
    told = root / "DEBIAN"
    told.mkdir()
    major, minor = map(int, run([PYTHON, "-c", "import sys; print(*sys.version_info[:2])"]).split())
    architecture = run(["dpkg", "--print-architecture"]).strip()
    size = sum(path.lstat().st_size for path in root.rglob("*") if not path.is_dir())
    python, next_python = f"{major}.{minor}", f"{major}.{minor + 1}"
    control = CONTROL.format(
        version=version, architecture=architecture, size_kib=size >> 10, python=python, next_python=next_python
    )
    (told / "control").write_text(control)
    (told / "conffiles").write_text("/etc/default/safekit\n")
    for name in SCRIPTS:
        shutil.copyfile(HERE / name, told / name)
        (told / name).chmod(0o755)
    return architecture


def permit(root: Path) -> None:
    """Whoever builds: directories and programs for all to read, whatever his umask."""
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def built_version(wheels: Iterable[Path]) -> str:
    found = {
        match[1]
        for folder in wheels
        for path in folder.glob("safekit-*.whl")
        if (match := re.fullmatch(r"safekit-([^-]+)-py3-none-any\.whl", path.name))
    }
    if len(found) != 1:
        sys.exit(f"of the wheel of safekit there has to be one version, not {sorted(found) or 'none'}")
    return found.pop()


def ours(wheels: Iterable[Path]) -> list[str]:
    """Every package of ours that there is a wheel of."""
    names = {path.name.partition("-")[0] for folder in wheels for path in folder.glob("safekit*.whl")}
    return sorted(name.replace("_", "-") for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("dist"), metavar="DIR")
    parser.add_argument("--version", default="", help="that of the wheels when it is not given")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="all of ours when none is named")
    asked = parser.parse_args()
    version = asked.version or built_version(asked.wheels)
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "root"
        root.mkdir()
        install(root, asked.wheels, asked.packages or ours(asked.wheels))
        furnish(root)
        permit(root)
        architecture = describe(root, version)
        package = asked.out / f"safekit_{version}_{architecture}.deb"
        run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", root, package])
    print(package)


if __name__ == "__main__":
    main()
