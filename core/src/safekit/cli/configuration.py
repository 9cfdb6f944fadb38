"""`safekit validate`, `plan`, `apply`, `schema`, `set`, `get`: configuration and values."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safekit.cli.ask import ask, ask_nodes, chosen, results
from safekit.cli.options import All, On, Output
from safekit.cli.output import ExitCode, Format, plain, rows, show
from safekit_sdk import ConfigError, SafekitError

if TYPE_CHECKING:
    from safekit.config.compiled import CompiledModule

Module = Annotated[str, typer.Argument(help="The module.")]
From = Annotated[
    Path | None,
    typer.Option("--from", help="Folder or file to read; the module's folder under /etc/safekit/modules when absent."),
]


def register(app: typer.Typer) -> None:
    for command in (validate, plan, apply, schema):
        app.command()(command)
    app.command("set")(set_value)
    app.command("get")(get_values)


def validate(
    path: Annotated[Path, typer.Argument(help="A module.yaml, or the folder that has it.")],
    nodes: Annotated[list[str] | None, typer.Option("--node", help="Names of the cluster's nodes.")] = None,
) -> None:
    """Check a module file without a daemon; nothing is changed."""
    shown = path / "module.yaml" if path.is_dir() else path
    compiled = compile_here(path, shown.resolve().parent.name, tuple(nodes or ()))
    for warning in compiled.warnings:
        print(f"warning: {warning}")
    print(f"{shown}: a good {compiled.kind} module of {len(compiled.steps)} steps, {len(compiled.checkers)} checkers")


def compile_here(path: Path, name: str, nodes: tuple[str, ...] = ()) -> CompiledModule:
    """As this node has it, without a daemon; for the nodes of its cluster when none are named."""
    from safekit.config.cluster import Cluster
    from safekit.config.compiler import compile_module
    from safekit.settings import Settings

    files = read_module(path)
    if not nodes and Settings().cluster_file.exists():
        nodes = tuple(node.name for node in Cluster.load(Settings().cluster_file).nodes)
    shown = path / "module.yaml" if path.is_dir() else path
    nodes = nodes or ("node1", "node2")
    includes = not path.is_dir() and path.name == "module.yaml" and b"include" in files["module.yaml"]
    whole = read_module(path.parent) if includes else files
    own = _own_node()
    compiled = compile_module(files["module.yaml"], str(shown), nodes, name, node=own, beside=whole)
    for node in nodes if "node_variables" in files["module.yaml"].decode(errors="replace") else ():
        compile_module(files["module.yaml"], str(shown), nodes, name, node=node, beside=whole)
    return compiled


def _own_node() -> str:
    """As the cluster calls this machine; empty when it is in none, or when its key is not for this user."""
    from safekit.bus import keys
    from safekit.config.cluster import Cluster
    from safekit.settings import Settings

    try:
        pair, cluster = keys.load(Settings().key_file), Cluster.load(Settings().cluster_file)
    except SafekitError:
        return ""
    return next((node.name for node in cluster.nodes if node.public_key == pair.public), "")


def plan(module: Module, source: From = None, output: Output = Format.TABLE) -> None:
    """Show what `apply` would do on each node and what it would interrupt; nothing is changed. Exit code 3
    when there is something to do."""
    answers = ask("plan", _request(module, read_module(source or module_folder(module))), timeout_s=60.0)
    show(answers, output, _plan_text)
    if any(answer.get("error") for answer in answers.values()):
        sys.exit(ExitCode.ERROR)
    if any(answer["plan"]["changed"] for answer in answers.values()):
        sys.exit(ExitCode.DIFFERENT)


def apply(module: Module, source: From = None) -> None:
    """Apply a module's files on all its nodes, or on none; only what changed restarts."""
    apply_files(module, read_module(source or module_folder(module)))


def apply_files(module: str, files: dict[str, bytes]) -> bool:
    """Whether the module replicates data."""
    done = ask("apply", _request(module, files), timeout_s=90.0)
    for node, answer in done["nodes"].items():
        for warning in (*answer["findings"], *answer["warnings"]):
            print(f"warning ({node}): {warning}")
    for node in done["late"]:
        why = done.get("why_late", {}).get(node, "it did not answer in the end")  # a safekitd of before tells no more
        print(f"warning ({node}): not in force there yet: {why}. It fetches the configuration as soon as it can")
    there = [node for node in done["nodes"] if node not in done["late"]]
    print(f"module '{module}': revision {done['revision']} is in force on {', '.join(there)}")
    return any(answer.get("has_data") for answer in done["nodes"].values())


def schema() -> None:
    """Print the JSON Schema of module.yaml, with the settings of every installed plugin, for editors."""
    from safekit.config.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


def set_value(
    module: Module,
    resource: Annotated[str, typer.Argument(help="class.name, as custom.queue")],
    value: Annotated[str, typer.Argument(help="up, down, or another word that a rule tests")],
    on: On = None,
    everywhere: All = False,
) -> None:
    """Set a resource value for the rules."""
    args = {"module": module, "resource": resource, "value": value}
    results(ask_nodes("set-value", args, chosen(on, everywhere)))


def get_values(
    module: Module,
    resource: Annotated[str, typer.Argument(help="Only this one.")] = "",
    on: On = None,
    everywhere: All = False,
    output: Output = Format.TABLE,
) -> None:
    """Show a module's resource values."""
    found = results(ask_nodes("values", {"module": module}, chosen(on, everywhere)))
    if resource:
        found = {node: {name: v for name, v in values.items() if name == resource} for node, values in found.items()}
    show(found, output, _values_table)


def _values_table(found: dict[str, Any]) -> Any:
    lines = [
        (node, name, plain(value["value"]), f"{value['since_s']:.1f}s", plain(value["reason"]))
        for node, values in found.items()
        for name, value in values.items()
    ]
    return rows("", ("NODE", "RESOURCE", "VALUE", "SINCE", "REASON"), lines)


def module_folder(module: str) -> Path:
    """Where its files can be edited."""
    from safekit.settings import Settings

    return Settings().etc / "modules" / module


def read_module(path: Path) -> dict[str, bytes]:
    """The files of a module: of a folder, or one module.yaml. ConfigError when there is none."""
    from safekit.config.store import read_bundle

    if path.is_file():
        return {"module.yaml": path.read_bytes()}
    if not (path / "module.yaml").is_file():
        raise ConfigError(f"there is no module.yaml in {path}", hint="name a folder or file with --from")
    return read_bundle(path)


def _request(module: str, files: dict[str, bytes]) -> dict[str, Any]:
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    return {"module": module, "files": encoded}


def _plan_text(answers: dict[str, Any]) -> Any:
    """Nodes that would do the same are shown together."""
    from rich.text import Text

    shown: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for node, answer in answers.items():
        if error := answer.get("error"):
            styled = [(f"refused: {error}", "red")]
        else:
            styled = [(line, "") for line in answer["lines"]]
            styled += [(f"warning: {found}", "yellow") for found in answer["findings"]]
        shown.setdefault(tuple(styled), []).append(node)
    text = Text()
    for said, nodes in shown.items():
        text.append(f"on {', '.join(nodes)}\n", style="bold")
        for line, style in said:
            text.append(f"  {line}\n", style=style)
    return text
