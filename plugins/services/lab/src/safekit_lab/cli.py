"""The command `safekit lab`: a thin layer over safekit_lab.Lab."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import safekit_lab

from . import foreground, state
from .error import LabError
from .fault import fault
from .options import Name, Output, errors_for_people
from .report import Format, Row, show, show_summary
from .units import parse_duration, parse_size

if TYPE_CHECKING:
    from .lab import Lab
    from .layout import Bind

app = typer.Typer(
    help="Nodes on this machine, as namespaces: a cluster to try, kill, freeze and cut off.",
    no_args_is_help=True,
)
app.add_typer(fault, name="fault")
Node = Annotated[str, typer.Argument(help="node1, node2, … or client1, …", metavar="NODE")]


@app.command()
def up(
    nodes: Annotated[int, typer.Option(help="How many nodes.")] = 2,
    clients: Annotated[int, typer.Option(help="How many clients: machines outside the cluster.")] = 0,
    networks: Annotated[int, typer.Option(help="How many networks; every machine is on each.")] = 1,
    name: Name = "lab",
    ipv6: Annotated[bool, typer.Option(help="IPv6 addresses beside IPv4.")] = True,
    mtu: Annotated[int, typer.Option(help="Bytes.")] = 1500,
    disk: Annotated[
        Path | None, typer.Option(help="Keep the nodes' changes in this directory, for a real disk's fsync.")
    ] = None,
    disk_size: Annotated[str, typer.Option(help="Size of each node's disk in memory, such as 512M.")] = "512M",
    bind: Annotated[list[str] | None, typer.Option(help="SOURCE[:TARGET[:rw]] of the host, in every node.")] = None,
    owner: Annotated[int | None, typer.Option(help="A process (its number) with which the lab ends.", min=1)] = None,
    output: Output = Format.TABLE,
) -> None:
    """Start a lab and return when all its nodes have booted."""
    with errors_for_people():
        lab = safekit_lab.Lab.up(
            nodes,
            clients=clients,
            networks=networks,
            name=name,
            ipv6=ipv6,
            mtu=mtu,
            disk=disk,
            disk_size_bytes=parse_size(disk_size),
            binds=[_parse_bind(text) for text in bind or ()],
            outlive=owner is None,
            owner_pid=owner,
        )
        show(_rows(lab), output)


@app.command()
def down(name: Name = "lab") -> None:
    """Take a lab down: every process, mount and interface of it is gone."""
    with errors_for_people():
        if name not in _sweep():
            safekit_lab.Lab.find(name).down()


@app.command("list")
def list_(output: Output = Format.TABLE) -> None:
    """The labs that are up, and their nodes. Sweeps what a killed lab left."""
    with errors_for_people():
        _sweep()
        show([row for folder in state.labs() for row in _rows(safekit_lab.Lab.find(folder.name))], output)


@app.command("exec")
def exec_(
    node: Node,
    command: Annotated[list[str], typer.Argument(metavar="CMD…")],
    background: Annotated[bool, typer.Option(help="Return at once; the command runs on until its node dies.")] = False,
    cwd: Annotated[str, typer.Option(help="Working directory in the node.")] = "/",
    name: Name = "lab",
) -> None:
    """Run a command in a node; its exit code becomes this one's. Write -- before it: exec node1 -- ls -l."""
    with errors_for_people():
        machine = safekit_lab.Lab.find(name).node(node)
        if background:
            print(foreground.leave_behind(machine, command, cwd))
            return
        code = foreground.run(machine, command, cwd)
    raise typer.Exit(code)


@app.command()
def shell(node: Node, name: Name = "lab") -> None:
    """Open a shell in a node."""
    with errors_for_people():
        machine = safekit_lab.Lab.find(name).node(node)
        code = foreground.run(machine, [os.environ.get("SHELL", "/bin/sh")], os.environ.get("HOME", "/"))
    raise typer.Exit(code)


@app.command()
def start(node: Node, name: Name = "lab") -> None:
    """Boot a crashed node: its disk as it was, /run and /tmp empty."""
    with errors_for_people():
        safekit_lab.Lab.find(name).node(node).boot()


@app.command()
def probe(
    url: Annotated[str, typer.Option(help="http://HOST[:PORT]/PATH, or tcp://HOST:PORT for a server that greets.")],
    source: Annotated[str, typer.Option("--from", help="The machine that asks.")] = "client1",
    interval: Annotated[str, typer.Option(help="Pace; a slow answer does not delay the next request.")] = "10ms",
    timeout: Annotated[str, typer.Option(help="A request that takes longer has failed.")] = "250ms",
    duration: Annotated[str, typer.Option(help="How long to go on; Ctrl-C ends it early.")] = "5s",
    server_header: Annotated[str | None, typer.Option(help="Header that names the server; else the body does.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep every request in this file, as JSON lines.")] = None,
    name: Name = "lab",
    output: Output = Format.TABLE,
) -> None:
    """Ask a service at a fixed pace, each time on a new connection, and report the outages."""
    with errors_for_people():
        run = safekit_lab.Lab.find(name).probe(
            url,
            source=source,
            interval_s=parse_duration(interval),
            timeout_s=parse_duration(timeout),
            duration_s=parse_duration(duration),
            server_header=server_header,
            out=out,
        )
        with run, suppress(KeyboardInterrupt):
            run.result()
        show_summary(run.result().summary, output)


def _sweep() -> list[str]:
    swept = state.sweep()
    for name in swept:
        print(f"swept what was left of lab {name}: its keeper had died", file=sys.stderr)
    return swept


def _rows(lab: "Lab") -> list[Row]:
    return [{"lab": lab.name, **status.model_dump(mode="json")} for status in lab.statuses()]


def _parse_bind(text: str) -> "Bind":
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if mode not in ("", "ro", "rw"):
        raise LabError(f"--bind {text}: {mode!r} is neither ro nor rw; write SOURCE[:TARGET[:rw]]")
    path = Path(source).resolve()
    return safekit_lab.Bind(source=path, target=Path(target) if target else path, writable=mode == "rw")
