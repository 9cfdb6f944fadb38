"""`safekit module`: add and remove modules, start, stop and move them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from safekit.cli import packing, versions
from safekit.cli.ask import ask, ask_nodes, chosen, results, statuses
from safekit.cli.options import All, On, Output, Timeout
from safekit.cli.output import Format, rows, show
from safekit_sdk import ConfigError, RefusedError

app = typer.Typer(help="Add and remove modules, start, stop and move them.", no_args_is_help=True)
versions.add_to_module(app)
packing.add_to_module(app)
Name = Annotated[str, typer.Argument(help="The module.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
_RUNNING = {"ALONE", "PRIM", "SECOND", "UP"}


@app.command()
def add(
    name: Name,
    app_name: Annotated[str, typer.Option("--app", help="The application plugin, as apache.")] = "",
    kind: Annotated[str, typer.Option(help="mirror, farm or light.")] = "mirror",
    vip: Annotated[list[str] | None, typer.Option(help="A virtual address with prefix length; repeatable.")] = None,
    port: Annotated[int, typer.Option(help="The port that the application serves; its usual one when absent.")] = 0,
    sticky: Annotated[bool, typer.Option("--sticky", help="Farm: a client always reaches the same server.")] = False,
    option: Annotated[list[str] | None, typer.Option("--set", help="A setting of the app: NAME=VALUE.")] = None,
    directory: Annotated[Path | None, typer.Option("--from", help="A folder with module.yaml, or that file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the file that it would write.")] = False,
) -> None:
    """Add a module on all its nodes, from an app or from a file of your own."""
    from safekit.cli.configuration import apply_files, read_module

    if bool(app_name) == (directory is not None):
        raise ConfigError("a module comes from --app APP or from --from FOLDER, one of the two")
    if directory is not None:
        files = read_module(directory)
    else:
        files = {"module.yaml": _from_app(app_name, name, kind, vip or [], port, sticky, option or []).encode()}
    if dry_run:
        print(files["module.yaml"].decode())
        return
    if any(found["name"] == name for found in ask("status")["modules"]):
        raise ConfigError(f"there is a module '{name}' already", hint=f"change it with `safekit apply {name}`")
    if apply_files(name, files):
        print(f"next: on the node that has the data: `safekit module prim {name} --force`")
        print(f"then on the other one: `safekit module start {name}`")
    else:
        print(f"next: `safekit module start {name} --all`")


def _from_app(app_name: str, name: str, kind: str, vips: list[str], port: int, sticky: bool, options: list[str]) -> str:
    from safekit.config.edit import to_yaml
    from safekit.plugins import load
    from safekit_sdk import ModuleRequest

    if kind not in {"mirror", "farm", "light"}:
        raise ConfigError(f"'{kind}' is not a kind of module", where="--kind", hint="mirror, farm or light")
    plugin = load("safekit.apps", app_name)
    settings = dict(text.partition("=")[::2] for text in options)
    request = ModuleRequest(name, kind, tuple(vips), port or None, sticky, settings)  # type: ignore[arg-type]
    return to_yaml(plugin.module_file(request))


@app.command()
def remove(name: Name) -> None:
    """Remove a stopped module from every node. Earlier configurations are kept."""
    ask("remove", {"module": name}, timeout_s=30.0)
    print(f"module '{name}' removed")


@app.command("list")
def list_modules(output: Output = Format.TABLE) -> None:
    """List the modules of the cluster and where they run."""
    found: dict[str, dict[str, Any]] = {}
    for node, answer in statuses().items():
        for module in (answer.get("result") or {}).get("modules", ()):
            entry = found.setdefault(module["name"], {"name": module["name"], "kind": module["kind"], "nodes": {}})
            entry["nodes"][node] = f"{module['state']}/{module['readiness']}"
    show(list(found.values()), output, _list_table)


def _list_table(found: list[dict[str, Any]]) -> Any:
    lines = [(m["name"], m["kind"], ", ".join(f"{n} {s}" for n, s in m["nodes"].items())) for m in found]
    return rows("", ("MODULE", "KIND", "NODES"), lines)


def _command(
    name: str, command: str, nodes: tuple[str, ...], *, force: bool = False, quiet: bool = False
) -> dict[str, Any]:
    args = {"module": name, "command": command, "force": force}
    return _decided(ask_nodes("command", args, nodes), quiet=quiet)


def _decided(answers: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    done = results(answers)
    if not quiet:
        for node, result in done.items():
            for decision in result["decisions"]:
                print(f"{node}: {decision}")
    return done


@app.command()
def start(name: Name, on: On = None, everywhere: All = False, wait: Wait = True, timeout: Timeout = 60.0) -> None:
    """Start the module on this node (or --on others, or --all)."""
    nodes = chosen(on, everywhere)
    _command(name, "start", nodes, quiet=wait)
    if wait:
        _await_states(name, nodes, {"ready"}, timeout)


@app.command()
def stop(name: Name, on: On = None, everywhere: All = False, wait: Wait = True, timeout: Timeout = 300.0) -> None:
    """Stop the module on this node; its peer takes over when it was primary here. On several nodes the secondary stops
    first."""
    nodes = chosen(on, everywhere)
    asked = {"module": name, "nodes": nodes, "timeout_s": max(timeout, 0.1)}
    stopped = _decided(ask("stop", asked, timeout_s=timeout + 15.0), quiet=wait)
    if wait:
        _await_states(name, tuple(stopped), {"STOP"}, timeout)


@app.command()
def forcestop(name: Name, on: On = None, everywhere: All = False, timeout: Timeout = 300.0) -> None:
    """Stop at once and by force, breaking off what is under way."""
    nodes = chosen(on, everywhere)
    _command(name, "forcestop", nodes, quiet=True)
    _await_states(name, nodes, {"STOP"}, timeout)


@app.command()
def restart(name: Name, on: On = None, everywhere: All = False) -> None:
    """Stop and start the application in place; the address and the roles stay."""
    _command(name, "restart", chosen(on, everywhere))


@app.command()
def stopstart(name: Name, on: On = None, everywhere: All = False) -> None:
    """Stop the whole module and start it again; the peer takes over when it was primary here."""
    _command(name, "stopstart", chosen(on, everywhere))


@app.command()
def swap(name: Name, wait: Wait = True, timeout: Timeout = 60.0) -> None:
    """Exchange primary and secondary."""
    before = _primary(name)
    _command(name, "swap", chosen(None, False), quiet=wait)
    if wait:
        _await(lambda: _primary(name) not in {before, ""}, f"module '{name}' has no new primary", timeout)
        print(f"{_primary(name)} is primary")


@app.command()
def prim(
    name: Name,
    on: On = None,
    force: Annotated[bool, typer.Option("--force", help="Even if acknowledged writes may be lost.")] = False,
) -> None:
    """Make this node primary when the cluster cannot decide by itself."""
    if on and len(on) > 1:
        raise RefusedError("one node can be primary, not several")
    _command(name, "prim", chosen(on, False), force=force)


@app.command()
def second(name: Name, on: On = None) -> None:
    """Make this node secondary: it waits for the other to be primary."""
    _command(name, "second", chosen(on, False))


@app.command()
def failover(name: Name, switch: Annotated[str, typer.Argument(help="on or off")]) -> None:
    """Switch automatic failover on or off, on all nodes; it stays so after a stop and a reboot."""
    if switch not in {"on", "off"}:
        raise ConfigError(f"'{switch}' is neither on nor off")
    _command(name, f"failover-{switch}", ("*",))


@app.command("wait")
def wait_for(
    name: Name,
    states: Annotated[list[str], typer.Argument(help="States: STOP WAIT ALONE PRIM SECOND UP, or `ready`.")],
    on: On = None,
    everywhere: All = False,
    timeout: Timeout = 60.0,
) -> None:
    """Wait until the module is in one of the states (and Ready, unless it is STOP or WAIT)."""
    _await_states(name, chosen(on, everywhere), set(states), timeout)


@dataclass(frozen=True)
class _Seen:
    """A module on one node."""

    state: str
    readiness: str
    reason: str
    under_way: bool
    given_up: bool
    """It is stopped although it was started: waiting for more is in vain."""

    def __str__(self) -> str:
        return f"{self.state} {self.readiness} ({self.reason}{', under way' if self.under_way else ''})"

    def is_one_of(self, wanted: set[str]) -> bool:
        if self.under_way:
            return False
        if self.state in _RUNNING:
            return self.readiness == "Ready" and bool(wanted & {self.state, "ready"})
        return self.state in wanted


def _await_states(name: str, nodes: tuple[str, ...], states: set[str], timeout_s: float) -> None:
    """TimeoutError when it takes longer; ConfigError when the module stopped for good before it was ready."""
    last: dict[str, _Seen] = {}

    def there() -> bool:
        last.clear()
        last.update(_seen(name, nodes))
        return bool(last) and all(seen.is_one_of(states) or seen.given_up for seen in last.values())

    try:
        _await(there, f"module '{name}' did not become {' or '.join(sorted(states))}", timeout_s)
    finally:
        for node, seen in last.items():
            print(f"{node}: {seen}")
    stopped = [node for node, seen in last.items() if not seen.is_one_of(states)]
    if stopped:
        raise ConfigError(
            f"module '{name}' has stopped on {', '.join(stopped)}", hint=f"`safekit why {name} --on {stopped[0]}`"
        )


def _seen(name: str, nodes: tuple[str, ...]) -> dict[str, _Seen]:
    return {
        node: _Seen(
            state=module["state"],
            readiness=module["readiness"],
            reason=module["reason"],
            under_way=bool(module["running"]),
            given_up=module["state"] == "STOP" and not module["running"] and not module["desired"],
        )
        for node, result in results(ask_nodes("status", {}, nodes, timeout_s=3.0)).items()
        for module in result["modules"]
        if module["name"] == name
    }


def _primary(name: str) -> str:
    for node, answer in statuses().items():
        for module in (answer.get("result") or {}).get("modules", ()):
            if module["name"] == name and module["state"] in {"PRIM", "ALONE"} and module["readiness"] == "Ready":
                return node
    return ""


def _await(there: Any, otherwise: str, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not there():
        if time.monotonic() >= deadline_s:
            raise TimeoutError(f"{otherwise} within {timeout_s:g} s; `safekit status` and `safekit why` say more")
        time.sleep(0.1)
