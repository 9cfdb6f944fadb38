"""The commands `safekit lab fault NODE …`: what can go wrong with a machine."""

from dataclasses import dataclass
from typing import Annotated

import typer

from .lab import Lab
from .losses import Direction
from .node import Node
from .options import Name, errors_for_people

fault = typer.Typer(help="Make something go wrong in a node, or right again.", no_args_is_help=True)
Network = Annotated[int | None, typer.Option(help="Only this network; default all.")]
To = Annotated[str | None, typer.Option(help="Only between NODE and this one; default all.")]
Way = Annotated[Direction, typer.Option(help="As seen from NODE.")]


@dataclass(frozen=True, slots=True)
class _Target:
    name: str
    lab: str

    @property
    def node(self) -> Node:
        return Lab.find(self.lab).node(self.name)


@fault.callback()
def choose(context: typer.Context, node: Annotated[str, typer.Argument(metavar="NODE")], name: Name = "lab") -> None:
    context.obj = _Target(node, name)


@fault.command()
def crash(context: typer.Context) -> None:
    """Power off at once; peers get no goodbye. Boot it again with: lab start NODE."""
    with errors_for_people():
        context.obj.node.crash()


@fault.command()
def freeze(
    context: typer.Context,
    deep: Annotated[bool, typer.Option(help="Also drop its packets: without, its kernel still answers ARP and TCP.")] = False,
) -> None:
    """Stop every process of the node where it is."""
    with errors_for_people():
        context.obj.node.freeze(deep=deep)


@fault.command()
def thaw(context: typer.Context) -> None:
    """Let a frozen node go on."""
    with errors_for_people():
        context.obj.node.thaw()


@fault.command()
def cut(context: typer.Context, network: Network = None, to: To = None, direction: Way = "both") -> None:
    """Drop every packet, ARP included."""
    with errors_for_people():
        context.obj.node.cut(network=network, to=to, direction=direction)


@fault.command()
def heal(context: typer.Context, network: Network = None, to: To = None, direction: Way = "both") -> None:
    """End cut and loss."""
    with errors_for_people():
        context.obj.node.heal(network=network, to=to, direction=direction)


@fault.command()
def loss(
    context: typer.Context,
    percent: Annotated[float, typer.Argument(min=0, max=100, metavar="PERCENT")],
    network: Network = None,
    to: To = None,
    direction: Way = "both",
) -> None:
    """Drop a share of the packets, each by chance."""
    with errors_for_people():
        context.obj.node.loss(percent, network=network, to=to, direction=direction)


@fault.command("fill-disk")
def fill_disk(context: typer.Context) -> None:
    """Leave no free block on the node's own disk."""
    with errors_for_people():
        context.obj.node.fill_disk()


@fault.command("free-disk")
def free_disk(context: typer.Context) -> None:
    """Give the disk its room back."""
    with errors_for_people():
        context.obj.node.free_disk()
