"""The command `safekit-sdk`: writes the package of a new plugin, and runs the tests of one."""

from __future__ import annotations

import argparse
import importlib.util
import json
import keyword
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal, get_args

import safekit_sdk
from safekit_sdk.errors import ConfigError, SafekitError

Kind = Literal["checker", "resource", "app"]
NAME_CHARACTERS_MAX = 24
"""Longer ones make lines of the generated code too long."""
_GROUPS: dict[Kind, str] = {"checker": "safekit.checkers", "resource": "safekit.resources", "app": "safekit.apps"}
_TAKEN = frozenset({"sdk", "console", "lab", "metrics", "notify", "checker", "resource", "app", "witness"})
"""First words of our own distributions, which an app's `safekit-NAME` would meet."""
_AUTHOR = re.compile(r"([^<>\"\\\x00-\x1f]+?)(?:\s*<([^<>@\s\"\\]+@[^<>@\s\"\\]+)>)?")


@dataclass(frozen=True, slots=True)
class Naming:
    """What a plugin's name becomes in each place."""

    kind: Kind
    name: str

    @property
    def distribution(self) -> str:
        return f"safekit-{self.name}" if self.kind == "app" else f"safekit-{self.kind}-{self.name}"

    @property
    def package(self) -> str:
        return self.distribution.replace("-", "_")

    @property
    def stem(self) -> str:
        return "".join(word.capitalize() for word in self.name.split("-"))

    @property
    def class_name(self) -> str:
        return f"{self.stem}{self.kind.capitalize()}"

    @property
    def config_name(self) -> str:
        return f"{self.stem}Config"

    def substitutions(self, author: str) -> dict[str, str]:
        return {
            "kind": self.kind,
            "name": self.name,
            "group": _GROUPS[self.kind],
            "distribution": self.distribution,
            "package": self.package,
            "class_name": self.class_name,
            "config_name": self.config_name,
            "authors": _authors_line(author),
        }


def _authors_line(author: str) -> str:
    if not author:
        return ""
    parts = _AUTHOR.fullmatch(author.strip())
    if not parts:
        raise ConfigError(f"'{author}' is not an author", hint='write it as "Ada Lovelace <ada@example.org>"')
    entry = f"name = {json.dumps(parts[1], ensure_ascii=False)}"
    return f"authors = [{{{entry}, email = {json.dumps(parts[2])}}}]\n" if parts[2] else f"authors = [{{{entry}}}]\n"


def named(kind: Kind, name: str) -> Naming:
    """ConfigError for a name that no plugin of this kind can have, with what to do."""
    example = "use lower-case words with hyphens, as in file-age"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ConfigError(f"'{name}' is not a plugin name", hint=example)
    if len(name) > NAME_CHARACTERS_MAX:
        raise ConfigError(f"'{name}' has {len(name)} characters", hint=f"use at most {NAME_CHARACTERS_MAX}")
    if keyword.iskeyword(name):
        raise ConfigError(f"'{name}' is a word of the Python language", hint=f"add a word, as in {name}-state")
    naming = Naming(kind, name)
    taken = {naming.class_name, naming.config_name} & set(safekit_sdk.__all__)
    if taken or (kind == "app" and name.partition("-")[0] in _TAKEN):
        raise ConfigError(
            f"the name '{name}' is taken by safekit itself", hint=f"add a word before it, as in my-{name}"
        )
    return naming


def render(naming: Naming, author: str = "") -> dict[str, str]:
    """The files of the package: path within it to content."""
    templates = files("safekit_sdk") / "scaffold_templates"
    places = {
        "pyproject.toml": "pyproject.toml.tmpl",
        "README.md": f"{naming.kind}/README.md.tmpl",
        f"src/{naming.package}/__init__.py": f"{naming.kind}/plugin.py.tmpl",
        f"tests/test_{naming.name.replace('-', '_')}.py": f"{naming.kind}/test.py.tmpl",
    }
    values = naming.substitutions(author)
    rendered = {
        place: Template(templates.joinpath(template).read_text(encoding="utf-8")).substitute(values)
        for place, template in places.items()
    }
    return {**rendered, f"src/{naming.package}/py.typed": ""}


def new(kind: Kind, name: str, directory: Path, author: str = "") -> Path:
    """Write the package into a new folder of the directory and return the folder. ConfigError when it cannot."""
    naming = named(kind, name)
    contents = render(naming, author)
    folder = directory / naming.distribution
    try:
        folder.mkdir(parents=True)
        for place, content in contents.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    except FileExistsError:
        raise ConfigError(f"{folder} is already there", hint="give another name or --dir, or remove it") from None
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be written: {error.strerror}", hint="give another --dir") from error
    return folder


def check(directory: Path) -> int:
    """Run the tests of a plugin's package, its conformance among them; their exit status."""
    if not (directory / "pyproject.toml").is_file():
        raise ConfigError(f"{directory} has no pyproject.toml", hint="name the folder of a plugin's package")
    missing = [name for name in ("pytest", "pytest_asyncio", "pytest_timeout") if not importlib.util.find_spec(name)]
    if missing:
        raise ConfigError(f"{', '.join(missing)} is not installed", hint="pip install 'safekit-sdk[test]'")
    return subprocess.run([sys.executable, "-m", "pytest"], cwd=directory, check=False).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="safekit-sdk", description="Write and test plugins of safekit.")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("new", help="write the package of a new plugin; its tests pass at once")
    making.add_argument("kind", choices=get_args(Kind))
    making.add_argument("name", help="lower-case words with hyphens: file-age")
    making.add_argument("--dir", type=Path, default=Path(), metavar="DIR", help="where its folder is made")
    making.add_argument("--author", default="", help='"Ada Lovelace <ada@example.org>"')
    checking = commands.add_parser("check", help="run a plugin's tests, its conformance among them")
    checking.add_argument("directory", type=Path, nargs="?", default=Path(), metavar="DIR")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when done, 1 for an error, 2 for wrong usage; of `check` that of the tests."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "check":
            return check(given.directory)
        folder = new(given.kind, given.name, given.dir, given.author)
    except SafekitError as error:
        print(f"safekit-sdk: {error}", file=sys.stderr)
        return 1
    print(f"made {folder}\nnow: cd {folder} && pip install -e '.[test]' && pytest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
