"""The commands `safekit lab fault NODE …`: what can go wrong with a machine."""

from typing import TYPE_CHECKING, Annotated

import typer

import safekit_lab

from .options import Name, errors_for_people
from .terms import Direction

if TYPE_CHECKING:
    from .node import Node

fault = typer.Typer(help="Make something go wrong in a node, or right again.", no_args_is_help=True)
Network = Annotated[int | None, typer.Option(help="Only this network; default all.")]
To = Annotated[str | None, typer.Option(help="Only between NODE and this one; default all.")]
Way = Annotated[Direction, typer.Option(help="As seen from NODE.")]


def _node(context: typer.Context, lab: str) -> "Node":
    return safekit_lab.Lab.find(lab).node(context.obj)


@fault.callback()
def choose(context: typer.Context, node: Annotated[str, typer.Argument(metavar="NODE")]) -> None:
    context.obj = node


@fault.command()
def crash(context: typer.Context, name: Name = "lab") -> None:
    """Power off at once; peers get no goodbye. Boot it again with: lab start NODE."""
    with errors_for_people():
        _node(context, name).crash()


@fault.command()
def freeze(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option(help="Also drop its packets: without, its kernel still answers ARP and TCP.")
    ] = False,
    name: Name = "lab",
) -> None:
    """Stop every process of the node where it is."""
    with errors_for_people():
        _node(context, name).freeze(deep=deep)


@fault.command()
def thaw(context: typer.Context, name: Name = "lab") -> None:
    """Let a frozen node go on."""
    with errors_for_people():
        _node(context, name).thaw()


@fault.command()
def cut(
    context: typer.Context,
    network: Network = None,
    to: To = None,
    direction: Way = "both",
    name: Name = "lab",
) -> None:
    """Drop every packet, ARP included."""
    with errors_for_people():
        _node(context, name).cut(network=network, to=to, direction=direction)


@fault.command()
def heal(
    context: typer.Context,
    network: Network = None,
    to: To = None,
    direction: Way = "both",
    name: Name = "lab",
) -> None:
    """End cut and loss."""
    with errors_for_people():
        _node(context, name).heal(network=network, to=to, direction=direction)


@fault.command()
def loss(
    context: typer.Context,
    percent: Annotated[float, typer.Argument(min=0, max=100, metavar="PERCENT")],
    network: Network = None,
    to: To = None,
    direction: Way = "both",
    name: Name = "lab",
) -> None:
    """Drop a share of the packets, each by chance."""
    with errors_for_people():
        _node(context, name).loss(percent, network=network, to=to, direction=direction)


@fault.command("fill-disk")
def fill_disk(context: typer.Context, name: Name = "lab") -> None:
    """Leave no free block on the node's own disk."""
    with errors_for_people():
        _node(context, name).fill_disk()


@fault.command("free-disk")
def free_disk(context: typer.Context, name: Name = "lab") -> None:
    """Give the disk its room back."""
    with errors_for_people():
        _node(context, name).free_disk()


@fault.command("clock-step", context_settings={"ignore_unknown_options": True})
def clock_step(
    context: typer.Context, seconds: Annotated[float, typer.Argument(metavar="SECONDS")], name: Name = "lab"
) -> None:
    """Move the node's wall clock: for programs started after the first step, and statically linked ones not at all."""
    with errors_for_people():
        _node(context, name).step_clock(seconds)
