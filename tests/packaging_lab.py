"""Wheels of our packages, and fresh environments that they are installed into, as a stranger would."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workspace import ROOT, Package, distribution, is_own, packages, root_manifest

from safekit_lab.node import Node

TIMEOUT_S = 300.0
PIN = re.compile(r"^(\S+==\S+)", re.MULTILINE)
FOLDERS = "/etc /opt /var /run /root /tmp /dev /usr/local /usr/lib/systemd"
TRACES = {
    "processes": "ps -eo args= | grep -v '^ps '",
    "mounts": "grep -v -e ' / overlay ' -e /run/safekit-lab/ /proc/self/mounts",
    "addresses": "ip -br address show scope global | sed 's/@[^ ]*//'",
    "rules": "ip rule; ip -6 rule; ip route",
    "tables": "nft list ruleset",
    "kernel": "sysctl -a -r '^net[.]ipv[46][.]conf[.]' 2>/dev/null",
    "cgroups": "find /sys/fs/cgroup -type d -path '*/safekit/*/*'",
    "files": f"find {FOLDERS} -path /var/tmp -prune -o -iname '*safekit*' -print 2>/dev/null || true",
}
"""Commands whose lines say what an application and what makes it highly available may leave behind on a node."""
Done = subprocess.CompletedProcess[str]


def typed(argv: Sequence[str | Path], *, ok: bool = True, cwd: Path = ROOT, timeout_s: float = TIMEOUT_S) -> Done:
    words = [str(word) for word in argv]
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
    )
    assert not ok or done.returncode == 0, f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@dataclass(frozen=True, slots=True)
class Wheels:
    """Two folders: what is built here, and what others have built."""

    place: Path

    @property
    def own(self) -> Path:
        return self.place / "own"

    @property
    def others(self) -> Path:
        return self.place / "others"

    @property
    def options(self) -> list[str]:
        """So that pip takes what lies in these folders, and nothing else."""
        return ["--no-index", f"--find-links={self.own}", f"--find-links={self.others}"]

    def build(self, sources: Iterable[Path]) -> None:
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", self.own)
        typed([sys.executable, "-m", "pip", "wheel", *options, *sources])

    def download(self, *requirements: str) -> None:
        """What others built of these and their needs, in the pinned versions, from where pip is set up to look."""
        pins = self.place / "pins.txt"
        pins.write_text("\n".join(PIN.findall((ROOT / "constraints.txt").read_text())))
        options = ("--quiet", "--only-binary=:all:", "--constraint", pins, f"--find-links={self.own}")
        typed([sys.executable, "-m", "pip", "download", *options, "--dest", self.others, *requirements])
        for wheel in self.own.iterdir():
            (self.others / wheel.name).unlink(missing_ok=True)


def debian_package(wheels: Wheels, out: Path, version: str = "") -> Path:
    """The whole, for dpkg, out of these wheels."""
    build = ROOT / "packaging" / "debian" / "build.py"
    named: list[str | Path] = ["--version", version] if version else []
    argv = [sys.executable, build, "--wheels", wheels.own, "--wheels", wheels.others, "--out", out, *named]
    return Path(typed(argv).stdout.strip())


class Environment:
    """A virtual environment without anything in it. The pip of the tests installs into it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.python = place / "bin" / "python"
        typed([sys.executable, "-m", "venv", "--without-pip", place])

    def program(self, name: str) -> Path:
        return self.place / "bin" / name

    def pip(self, *words: str | Path, ok: bool = True) -> Done:
        return typed([sys.executable, "-m", "pip", "--python", self.python, *words], ok=ok)

    def installed(self) -> dict[str, str]:
        """Distributions by normalised name, with their versions."""
        lines = self.pip("list", "--format=freeze").stdout.split()
        return {distribution(name): version for name, _, version in (line.partition("==") for line in lines)}

    def own(self) -> set[str]:
        """The distributions of ours."""
        return set(filter(is_own, self.installed()))

    def leave(self, node: Node) -> None:
        """Uninstall ours on a node of a lab that is younger than the environment; others have it still."""
        argv = [sys.executable, "-m", "pip", "--python", str(self.python), "uninstall", "--quiet", "--yes"]
        node.run([*argv, *sorted(self.own())], timeout_s=TIMEOUT_S)
        assert node.run(["find", str(self.place), "-mindepth", "1", "-iname", "*safekit*"]).stdout == ""

    def safekit(self, *words: str, ok: bool = True) -> Done:
        return typed([self.program("safekit"), *words], ok=ok, cwd=self.place)


def traces(node: Node) -> set[str]:
    found = {what: node.run(["sh", "-c", command]).stdout.splitlines() for what, command in TRACES.items()}
    return {f"{what}: {line}" for what, lines in found.items() for line in lines}


@contextmanager
def visible() -> Iterator[Path]:
    """A folder that the nodes of a lab see: theirs is what was there when the lab went up."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="safekit-packaging-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


def earlier(reference: str, place: Path) -> Path:
    """The sources as they were at that commit, below `place`."""
    archive, sources = place / "earlier.tar", place / "earlier"
    typed(["git", "archive", "--format=tar", f"--output={archive}", reference, "core", "sdk", "plugins"])
    sources.mkdir()
    typed(["tar", "-xf", archive, "-C", sources])
    archive.unlink()
    return sources


def package(name: str) -> Package:
    return next(one for one in packages() if one.name == name)


def needs(name: str) -> set[str]:
    """The packages of ours that installing this one brings, itself among them."""
    found = {name}
    waiting = [name]
    while waiting:
        more = {distribution(one) for one in package(waiting.pop()).requirements if is_own(one)} - found
        found |= more
        waiting += more
    return found


def alone(one: Package, place: Path) -> Path:
    """The package in a folder of its own, as in a repository of its own, with the settings that its tests have here."""
    folder = place / one.name
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    shutil.copytree(one.path, folder, ignore=ignored)
    shutil.rmtree(folder / "src")
    settings = {**root_manifest()["tool"]["pytest"]["ini_options"], "pythonpath": ["tests"], "testpaths": ["tests"]}
    lines = (f"{key} = {_ini(value)}" for key, value in settings.items())
    (folder / "pytest.ini").write_text("[pytest]\n" + "\n".join(lines) + "\n")
    return folder


def _ini(value: object) -> str:
    return "".join(f"\n  {one}" for one in value) if isinstance(value, list) else str(value)
