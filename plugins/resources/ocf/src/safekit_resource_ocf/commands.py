"""`safekit ocf …`: the OCF resource agents of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from safekit_resource_ocf import limits
from safekit_resource_ocf.agents import installed, known_metadata
from safekit_resource_ocf.config import ROOT, OcfConfig
from safekit_resource_ocf.metadata import Metadata, Parameter
from safekit_sdk import ConfigError, Duration

AT_A_TIME: Final = 4
_UNWRAPPED: Final = 10_000

app = typer.Typer(help="OCF resource agents of this machine, and what each can be told.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="PROVIDER:TYPE, as `list` shows it.", metavar="AGENT")]
Root = Annotated[str, typer.Option(help="The directory that has the agents below resource.d.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
def list_agents(root: Root = ROOT, as_json: AsJson = False) -> None:
    """The agents that are installed here, each with what it says of itself."""
    names = list(installed(root))
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        found = dict(zip(names, threads.map(lambda name: _summary(name, root), names), strict=True))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("agent")
    table.add_column("what it does", overflow="fold")
    for name, summary in found.items():
        table.add_row(name, escape(summary))
    console = Console(highlight=False)
    Console(highlight=False, width=None if console.is_terminal else _UNWRAPPED).print(table)


@app.command("show")
def show_agent(agent: Name, root: Root = ROOT) -> None:
    """One agent's parameters, as YAML to paste into a module file: those that are required, and the others with their
    defaults as comments."""
    config = _config(agent, root)
    print("\n".join(_as_yaml(config, known_metadata(config.path))))


def _summary(name: str, root: str) -> str:
    try:
        return known_metadata(_config(name, root).path).summary
    except ConfigError as error:
        return f"cannot be used: {error.message}"


def _config(agent: str, root: str) -> OcfConfig:
    try:
        return OcfConfig(agent=agent, root=root)
    except ValidationError:
        raise ConfigError(f"'{agent}' is no agent", hint="write it as PROVIDER:TYPE: heartbeat:IPaddr2") from None


def _as_yaml(config: OcfConfig, metadata: Metadata) -> Iterator[str]:
    yield f"# {config.agent}: {metadata.summary}"
    yield "- ocf:"
    yield f"    agent: {config.agent}"
    if config.root != ROOT:
        yield f"    root: {json.dumps(config.root)}"
    parameters = list((metadata.parameters or {}).values())
    needed = [one for one in parameters if one.needed]
    yield "    parameters:" if needed else "    # parameters:"
    for one in needed:
        yield f"      {one.name}: {_said(one)}"
    for one in parameters:
        if one not in needed:
            yield f"      # {one.name}: {_said(one)}"
    if metadata.promotable:
        yield "    # promotable: true  # started on both nodes of a mirror, promoted on the primary"
    yield from _times(config, metadata)


def _said(one: Parameter) -> str:
    """Its default, quoted where YAML needs it, and what it is."""
    value = one.default if one.default is not None else ""
    bare = (one.kind == "integer" and value.isdecimal()) or value in ("true", "false")
    need = "required, " if one.required else ""
    summary = f": {one.summary}" if one.summary else ""
    return f"{value if bare else json.dumps(value, ensure_ascii=False)}  # {need}{one.kind}{summary}"


def _times(config: OcfConfig, metadata: Metadata) -> Iterator[str]:
    """Written out where the default is too short for what the agent advises."""
    for key, actions in (("start_timeout", ("start", "promote")), ("stop_timeout", ("stop", "demote"))):
        advised_s = max((metadata.advice(one).timeout_s or 0.0 for one in actions), default=0.0)
        present: Duration = getattr(config, key)
        if limits.wanted(advised_s) > present:
            yield f"    {key}: {limits.wanted(advised_s)}"
        elif advised_s:
            yield f"    # {key}: {present}  # the agent advises {Duration(advised_s)}"
    yield f"    # interval: {Duration(limits.interval_s(config, metadata, promoted=False))}"
    yield f"    # monitor_timeout: {Duration(limits.monitor_s(config, metadata, promoted=False))}"
    if metadata.depths()[1:]:
        yield f"    # check_level: 0  # or {', '.join(map(str, metadata.depths()[1:]))}: the monitor looks deeper"
