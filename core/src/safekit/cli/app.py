"""The command tree. Groups of other packages come by the entry-point group `safekit.commands`."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import typer

from safekit.cli.output import EXPECTED, ExitCode, fail
from safekit_sdk import PluginError

GROUP = "safekit.commands"
WORDS: Final[dict[str, tuple[str, ...]]] = {
    "cluster": ("cluster",),
    "daemon": ("daemon",),
    "module": ("module",),
    "farm": ("farm",),
    "rules": ("rules",),
    "plugins": ("plugins",),
    "status": ("status",),
    "configuration": ("validate", "plan", "apply", "schema", "set", "get"),
    "versions": ("diff",),
    "importing": ("import",),
    "journal": ("log", "why"),
    "doctor": ("doctor",),
    "snapshot": ("snapshot",),
    "replay": ("replay",),
}
"""The modules beside this one, with the words that each answers to. Where one of these is said, nothing else is
imported: that would take longer than most answers."""


def build(invoked: str) -> typer.Typer:
    """The whole tree, or what is invoked; of the plugins' groups only the one that is invoked is imported."""
    app = typer.Typer(
        name="safekit",
        help="High availability for plain servers.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )
    only = [module for module, words in WORDS.items() if invoked in words]
    for name in only or WORDS:
        module = import_module(f"{__package__}.{name}")
        if hasattr(module, "register"):
            module.register(app)
        else:
            app.add_typer(module.app, name=name)
    if only:
        app.callback()(lambda: None)  # with one command alone typer would take its name for an argument
        return app
    own = {word for words in WORDS.values() for word in words}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if entry.name not in own:
            _add(app, entry, invoked)
    return app


def _add(app: typer.Typer, entry: EntryPoint, invoked: str) -> None:
    package = entry.dist.name if entry.dist else "?"
    if entry.name == invoked:
        app.add_typer(_load(entry, package), name=entry.name)
        return
    app.add_typer(typer.Typer(), name=entry.name, help=f"From the package {package}.")
    placeholder = app.registered_groups[-1].typer_instance
    if placeholder is not None:
        placeholder.callback(invoke_without_command=True)(lambda: None)


def _load(entry: EntryPoint, package: str) -> typer.Typer:
    try:
        group: Any = entry.load()
    except (Exception, SystemExit) as error:  # a plugin's door
        wrong = f"the command '{entry.name}' of {package} cannot be loaded: {type(error).__name__}: {error}"
        raise PluginError(wrong, hint=f"pip uninstall {package}") from error
    if not isinstance(group, typer.Typer):
        raise PluginError(f"the command '{entry.name}' of {package} is not a typer.Typer")
    return group


def main() -> None:
    invoked = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    try:
        build(invoked)()
    except EXPECTED as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(ExitCode.ERROR)
    except Exception:  # a defect of ours: with what finds it, and not taken for the operator's
        traceback.print_exc()
        print("safekit: this is a defect of safekit; please report it with the lines above", file=sys.stderr)
        sys.exit(ExitCode.ERROR)
