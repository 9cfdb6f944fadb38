"""What can be set, called, typed or heard is documented; what the documentation points at is there.

That every link leads somewhere is mkdocs' own: the gate `docs` is strict."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import reference
import typer.main
from pydantic import BaseModel
from ruamel.yaml import YAML
from workspace import ROOT, Package, packages, tracked

import safekit_sdk
from safekit.config.compiler import compile_module
from safekit.plugins.discovery import GROUPS

DOCS = ROOT / "docs"
PAGES = tuple(path for path in tracked() if path.suffix == ".md")
CONFIGURATION = ("safekit.config.module", "safekit.config.cluster", "safekit.settings", "safekit_sdk.config")
BASES = {name: value for name, value in vars(safekit_sdk).items() if name.endswith("Config")}
COMMAND_PAGE = reference.render((DOCS / "reference/commands.md").read_text())
COMMANDS = tuple(reference.command_tree(typer.main.get_command(reference.load("safekit.cli.app:build")(""))))
OWN_WORDS = {"safekit.commands", "safekit.hooks"}
"""Groups whose entries have no settings."""


def entries(*, settings: bool) -> list[Any]:
    """The entry points of our packages, as a test's parameters: the package, and what the entry names."""
    return [
        pytest.param(package, place, id=f"{package.directory}: {name}")
        for package in packages()
        for group, found in package.entry_points.items()
        for name, place in found.items()
        if (group not in OWN_WORDS) is settings and group != "safekit.hooks"
    ]


def directives(kind: str) -> set[str]:
    """What all pages together have generated of this kind."""
    found = (reference.DIRECTIVE.findall(page.read_text()) for page in PAGES if page.is_relative_to(DOCS))
    return {what for page in found for one, what in page if one == kind}


def models(module: ModuleType) -> Iterator[type[BaseModel]]:
    """The models that a module defines and an operator can write."""
    for name, value in vars(module).items():
        own = isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__
        if own and not name.startswith("_") and value.model_fields:
            yield value


def test_every_page_is_in_the_navigation() -> None:
    navigation = re.findall(r"[\w/.-]+\.md", (DOCS / "site/mkdocs.yml").read_text())
    pages = [str(page.relative_to(DOCS)) for page in PAGES if page.is_relative_to(DOCS)]
    assert sorted(navigation) == sorted(pages)


@pytest.mark.parametrize("name", CONFIGURATION)
def test_every_key_of_the_configuration_is_documented(name: str) -> None:
    on_pages = {one for place in directives("model") for one in reference.models(reference.load(place))}
    for model in models(importlib.import_module(name)):
        assert model in on_pages
        assert [key for key, field in model.model_fields.items() if not field.description] == []


def test_every_plugin_is_in_a_group_that_is_loaded() -> None:
    assert {group for package in packages() for group in package.entry_points} <= set(GROUPS)


@pytest.mark.parametrize(("package", "place"), entries(settings=True))
def test_a_readme_tells_every_key_of_its_plugin(package: Package, place: str) -> None:
    assert keys_without_a_word(package, reference.load(place).config_model) == []


def keys_without_a_word(package: Package, config: type[BaseModel]) -> list[str]:
    """Those of the plugin's own that its README does not name, or that have no docstring."""
    inherited = {key for base in BASES.values() if issubclass(config, base) for key in base.model_fields}
    readme = (package.path / "README.md").read_text()
    return [
        f"{model.__name__}.{key}"
        for model in reference.models(config)
        for key, field in model.model_fields.items()
        if (f"`{key}`" not in readme and not (model is config and key in inherited)) or not field.description
    ]


@pytest.mark.parametrize(("package", "place"), entries(settings=True))
def test_the_page_of_a_plugin_has_what_its_class_says_and_an_example(package: Package, place: str) -> None:
    plugin = reference.load(place)
    text = reference.plugin_page(package.path / "README.md")
    page = reference.render(text)
    assert [key for key in plugin.config_model.model_fields if f"\n| `{key}` | " not in page] == []
    assert [
        name
        for name in getattr(plugin, "facts", ())
        if f"\n| {'others' if name == '*' else f'`{name}`'} | " not in page
    ] == []
    assert "```yaml" in text


@pytest.mark.parametrize(("package", "place"), entries(settings=False))
def test_a_readme_tells_every_command_that_its_package_brings(package: Package, place: str) -> None:
    readme = (package.path / "README.md").read_text()
    brought = list(reference.command_tree(typer.main.get_command(reference.load(place)), ""))
    assert brought
    assert [words for words, _ in brought if not re.search(rf"`[^`\n]*\b{words.split()[-1]}\b[^`\n]*`", readme)] == []


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_a_command_says_what_it_does_and_what_it_takes(words: str, command: Any) -> None:
    assert f"### `{words}`\n" in COMMAND_PAGE
    assert command.help
    assert [names for names, text in reference.parameters(command) if not text] == []


def test_the_commands_of_the_daemon_and_of_modules_are_seen() -> None:
    assert {"safekit status", "safekit daemon start", "safekit module swap"} <= {words for words, _ in COMMANDS}


def test_every_hook_is_documented() -> None:
    assert "safekit_sdk.hooks" in directives("hooks")
    hooks = reference.hook_functions("safekit_sdk.hooks")
    assert "state_changed" in hooks
    assert [name for name, hook in hooks.items() if not hook.__doc__] == []


@pytest.mark.parametrize("group", GROUPS)
def test_every_entry_point_group_is_in_the_table_of_the_architecture(group: str) -> None:
    assert f"\n| `{group}` |" in (DOCS / "architecture.md").read_text()


def examples() -> Iterator[Any]:
    """Each module file on a page, or part of one, whose plugins are ours; how to write a plugin shows another's."""
    known = {name for package in packages() for entries in package.entry_points.values() for name in entries}
    for page in PAGES:
        for number, text in enumerate(re.findall(r"^```ya?ml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)):
            found = YAML(typ="safe").load(text)
            named = {name for part in ("pipeline", "checkers") for entry in found.get(part, ()) for name in entry}
            if named and named <= known:
                yield pytest.param({"kind": "mirror", **found}, id=f"{page.relative_to(ROOT)} {number}")


@pytest.mark.parametrize("example", list(examples()))
def test_a_module_file_on_a_page_is_a_good_one(example: dict[str, Any]) -> None:
    compiled = compile_module(json.dumps(example), "module.yaml", ("node1", "node2"), "example")
    assert len(compiled.checkers) + len(compiled.steps) > 0


def test_the_architecture_opens_with_where_to_look() -> None:
    title, first = (DOCS / "architecture.md").read_text().splitlines()[::2][:2]
    assert title.startswith("# ")
    assert first == "| to change | open |"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_file_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"`((?:core|sdk|plugins|tests|docs)/[\w./-]*)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_a_decision_is_short() -> None:
    decisions = [page for page in PAGES if page.parent == DOCS / "adr"]
    assert len(decisions) >= 6
    for page in decisions:
        text = page.read_text()
        assert len(text.splitlines()) <= 40
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence"]
