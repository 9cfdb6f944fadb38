"""Reference pages out of the code: a comment `<!-- generate: KIND WHAT -->` on a page becomes what the code says.

A mkdocs hook; tests/repo/test_docs.py runs the same functions, to see that nothing is missing."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[2]
WITH_SETTINGS = ("safekit.checkers", "safekit.resources", "safekit.apps", "safekit.witnesses")
DIRECTIVE = re.compile(r"^<!-- generate: (\w+) ?(\S*) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Every plugin's README is a page, with what its classes say of themselves."""
    for name, readme in plugin_readmes():
        files.append(File.generated(config, f"reference/plugins/{name}.md", content=plugin_page(readme)))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    pages = [{name: f"reference/plugins/{name}.md"} for name, _ in plugin_readmes()]
    for section in config.nav or []:
        if "Reference" in section:
            section["Reference"].append({"Packages": pages})
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - the hook's signature
    return render(markdown)


def render(markdown: str) -> str:
    """The page with its directives carried out. KeyError names one that there is not."""
    return DIRECTIVE.sub(lambda found: "\n".join(KINDS[found[1]](found[2])), markdown)


def plugin_readmes() -> list[tuple[str, Path]]:
    """Each package's kind and name, `checker-tcp`, and its README; the SDK's last."""
    found = sorted(ROOT.glob("plugins/*/*/README.md"))
    named = [(f"{path.parts[-3].removesuffix('s')}-{path.parts[-2]}", path) for path in found]
    return [*named, ("sdk", ROOT / "sdk/README.md")]


def plugin_page(readme: Path) -> str:
    """The README, then for each class that the package brings its settings and what its verdicts tell."""
    parts = [readme.read_text()]
    for group, name, place in brought(readme.with_name("pyproject.toml")):
        parts += ["", f"## Every setting of `{name}`", "", f"<!-- generate: model {place}.config_model -->"]
        if group == "safekit.checkers":
            parts += ["", "## What its verdicts tell", "", f"<!-- generate: facts {place} -->"]
        elif load(place).publishes:
            parts += ["", "## What it publishes for rules", "", f"<!-- generate: values {place} -->"]
    return "\n".join([*parts, ""])


def brought(pyproject: Path) -> list[tuple[str, str, str]]:
    """Group, name and place of each plugin with settings that a package brings."""
    found = tomllib.loads(pyproject.read_text())["project"].get("entry-points", {})
    return [(group, name, place) for group in WITH_SETTINGS for name, place in found.get(group, {}).items()]


def load(place: str) -> Any:
    """`module:attribute`, `module:attribute.attribute` or `module`."""
    module, _, attribute = place.partition(":")
    loaded = importlib.import_module(module)
    return attrgetter(attribute)(loaded) if attribute else loaded


def model(place: str) -> Iterator[str]:
    """The keys of a pydantic model and of the models in it."""
    root = load(place)
    for one in models(root):
        if one is not root:
            yield f"\n### `{one.__name__}`\n"
        yield "| key | default | meaning |"
        yield "|---|---|---|"
        for name, field in one.model_fields.items():
            yield f"| `{name}` | {_default(field)} | {_sentence(field.description)} |"


def models(root: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and all models in its fields, each once."""
    found = [root]
    for one in found:
        for field in one.model_fields.values():
            found += [inner for inner in _inside(field.annotation) if inner not in found]
    return found


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _inside(argument)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return "" if default in (None, "", [], {}, ()) or isinstance(default, BaseModel) else f"`{_written(default)}`"


def _written(value: Any) -> str:
    """As in a file."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def facts(place: str) -> Iterator[str]:
    """What the facts of a checker's verdicts mean."""
    yield "| fact | meaning |"
    yield "|---|---|"
    for name, meaning in load(place).facts.items():
        yield f"| {'others' if name == '*' else f'`{name}`'} | {_sentence(meaning)} |"


def values(place: str) -> Iterator[str]:
    """The values that a resource sets by itself."""
    yield from (f"- `{value}`" for value in load(place).publishes)


def hooks(place: str) -> Iterator[str]:
    """The hooks of a module of pluggy specifications."""
    for name, function in hook_functions(place).items():
        yield f"### `{name}`\n"
        arguments = [f"`{argument}`" for argument in inspect.signature(function).parameters]
        yield f"{_sentence(function.__doc__)} Gets {', '.join(arguments)}.\n"


def hook_functions(place: str) -> dict[str, Callable[..., Any]]:
    found = vars(load(place)).items()
    return {name: value for name, value in found if hasattr(value, "safekit_spec")}


def commands(place: str) -> Iterator[str]:
    """Every command of a typer application, with its arguments and options."""
    for words, command in command_tree(typer.main.get_command(load(place)(""))):
        yield f"### `{words}`\n"
        yield f"{_sentence(command.help)}\n"
        yield from _parameters(command)


def command_tree(command: Any, words: str = "safekit") -> Iterator[tuple[str, Any]]:
    """The commands below one of click's, or of typer's own copy of click. What a package brings is left out."""
    if not hasattr(command, "commands"):
        yield words, command
    elif command.commands:
        for name, inner in command.commands.items():
            yield from command_tree(inner, f"{words} {name}")


def _parameters(command: Any) -> Iterator[str]:
    shown = parameters(command)
    if shown:
        yield "| | |"
        yield "|---|---|"
        yield from (f"| {', '.join(f'`{name}`' for name in names)} | {_sentence(text)} |" for names, text in shown)
        yield ""


def parameters(command: Any) -> list[tuple[list[str], str | None]]:
    """The names of each argument and option, and what its help says."""
    return [
        ([one.name.upper()] if one.param_type_name == "argument" else [*one.opts, *one.secondary_opts], one.help)
        for one in command.params
        if one.name != "help"
    ]


def plugins(group: str) -> Iterator[str]:
    """The plugins that this repository brings in one entry-point group."""
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        summary = entry.dist.metadata["Summary"] if entry.dist else ""
        yield f"- `{entry.name}`: {summary}"


KINDS: dict[str, Callable[[str], Iterator[str]]] = {
    "commands": commands,
    "facts": facts,
    "hooks": hooks,
    "model": model,
    "plugins": plugins,
    "values": values,
}
