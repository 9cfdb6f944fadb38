"""The command tree. Groups of other packages come by the entry-point group `safekit.commands`."""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer

from safekit.cli import cluster, configuration, daemon, doctor, farm, journal, module, plugins, rules, status
from safekit.cli.output import EXPECTED, ExitCode, fail
from safekit_sdk import PluginError

GROUP = "safekit.commands"


def build(invoked: str) -> typer.Typer:
    """The whole tree; of the plugins' groups only the one that is invoked is imported."""
    app = typer.Typer(
        name="safekit",
        help="High availability for plain servers.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )
    app.add_typer(cluster.app, name="cluster")
    app.add_typer(daemon.app, name="daemon")
    app.add_typer(module.app, name="module")
    app.add_typer(farm.app, name="farm")
    app.add_typer(rules.app, name="rules")
    app.add_typer(plugins.app, name="plugins")
    status.register(app)
    configuration.register(app)
    journal.register(app)
    doctor.register(app)
    own = {group.name for group in app.registered_groups} | {c.name for c in app.registered_commands}
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
    except Exception as error:  # a plugin's door
        raise PluginError(
            f"the command '{entry.name}' of {package} cannot be loaded: {error}", hint=f"pip uninstall {package}"
        ) from error
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
