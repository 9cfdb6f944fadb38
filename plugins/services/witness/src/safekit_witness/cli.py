"""The command `safekit-witness`, for the third machine."""

from __future__ import annotations

import json
import logging
import os
import pwd
import socket
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safekit_sdk import ConfigError, PeerError, RefusedError, SafekitError
from safekit_witness import control
from safekit_witness.control import Ask
from safekit_witness.directory import DEFAULT, DEFAULT_PORT, Directory

if TYPE_CHECKING:
    from safekit_witness.service import Service

ACCOUNT = "safekit-witness"
app = typer.Typer(
    name="safekit-witness",
    help="A witness on a third machine: it says which node of a cluster may run a module.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


Dir = Annotated[Path, typer.Option("--dir", envvar="SAFEKIT_WITNESS_DIR", help="Where its key and its store are.")]
Cluster = Annotated[str, typer.Argument(metavar="CLUSTER", help="The name of a cluster.")]


@app.command()
def init(
    address: Annotated[
        str, typer.Option(help="The address that nodes reach it by; else that of the default route.")
    ] = "",
    port: Annotated[int, typer.Option(help="The TCP port, from 1024.")] = DEFAULT_PORT,
    user: Annotated[
        str, typer.Option(help=f"The account that it runs as; {ACCOUNT} when there is one, else who runs this.")
    ] = "",
    directory: Dir = DEFAULT,
) -> None:
    """Make the key pair and the empty store of a new witness."""
    account = _account(user)
    place = Directory(directory)
    identity = place.create(address or _own_address(), port)
    if account is not None:
        place.own(account.pw_uid, account.pw_gid)
    print(f"a new witness in {directory}, for {identity.address} port {identity.port}", file=sys.stderr)


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name or ACCOUNT) if name or os.geteuid() == 0 else None
    except KeyError:
        if name:
            raise ConfigError(f"there is no user '{name}'", hint=f"useradd --system {name}") from None
        return None


def _own_address() -> str:
    """Nothing is sent: the kernel says by which address it would."""
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                return str(probe.getsockname()[0])
        except OSError:
            continue
    raise ConfigError("this machine has no route to elsewhere", hint="say by which address: --address 192.0.2.1")


@app.command()
def admit(cluster: Cluster, directory: Dir = DEFAULT) -> None:
    """Let a cluster use this witness, and print the one line that its nodes need. The secret in it is kept nowhere."""
    from safekit_witness import wire
    from safekit_witness.tokens import Token

    place = Directory(directory)
    identity = place.identity()
    pair = wire.key_pair()
    _perform(place, _ask(op="admit", cluster=cluster, public_key=pair.public))
    server = wire.pair_of(identity.secret)
    print(Token(identity.address, identity.port, server.public, pair.secret))


@app.command()
def expel(
    cluster: Cluster,
    forget: Annotated[bool, typer.Option("--forget", help="Also forget its leases and their epochs.")] = False,
    directory: Dir = DEFAULT,
) -> None:
    """Refuse a cluster from now on and close its connections. Its leases go on counting, unless forgotten."""
    _perform(Directory(directory), _ask(op="expel", cluster=cluster, forget=forget))


@app.command()
def show(
    output: Annotated[Format, typer.Option("-o", "--output", help="Form of what is printed.")] = Format.TABLE,
    directory: Dir = DEFAULT,
) -> None:
    """The clusters and their modules: who has the lease, its epoch, and the seconds until another node may have it."""
    shown = _perform(Directory(directory), Ask(op="show"))
    if output is Format.JSON:
        print(json.dumps(shown, indent=2))
    else:
        _table(shown)


def _table(shown: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("cluster", "module", "holder", "epoch", "seconds left"):
        table.add_column(column, overflow="fold")
    for one in shown:
        left = "?" if one["seconds_left"] is None else f"{one['seconds_left']:.1f}"
        expelled = "" if one["admitted"] else " (expelled)"
        cells = (one["cluster"] + expelled, one["module"], one["holder"], str(one["epoch"]), left)
        table.add_row(*(escape(_printable(cell)) for cell in cells))
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)


def _printable(text: str) -> str:
    """Names come from elsewhere, and could steer a terminal."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


@app.command()
def run(directory: Dir = DEFAULT) -> None:
    """Serve until SIGTERM. As root it becomes the owner of its directory."""
    from safekit_witness.server import Server

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    Server(Directory(directory)).run()


@app.command()
def unit(directory: Dir = DEFAULT) -> None:
    """Print a systemd unit for it: > /etc/systemd/system/safekit-witness.service."""
    from safekit_witness import unit_file

    print(unit_file.text(directory), end="")


def _ask(**fields: Any) -> Ask:
    try:
        return Ask(**fields)
    except ValueError:
        hint = "letters, digits and _ . : -, at most 63"
        raise ConfigError(f"'{fields.get('cluster', '')[:80]}' cannot be the name of a cluster", hint=hint) from None


def _perform(place: Directory, question: Ask) -> Any:
    """By the process that runs, else on its store."""
    try:
        return control.ask(place.control_path, question)
    except (FileNotFoundError, ConnectionRefusedError):
        return _perform_alone(place, question)
    except PermissionError:
        raise ConfigError(f"no right to {place.control_path}", hint="run it as root") from None


def _perform_alone(place: Directory, question: Ask) -> Any:
    from safekit_witness.service import Service
    from safekit_witness.store import Store

    place.identity()
    store = Store(place.store_path)
    try:
        return _apply(Service(store), question)
    finally:
        store.close()


def _apply(service: Service, question: Ask) -> Any:
    if question.op == "show":
        return [one.model_dump() for one in service.show(running=False)]
    if question.op == "admit":
        service.admit(question.cluster or "", question.public_key or "")
    else:
        service.expel(question.cluster or "", forget=question.forget)
    return None


def main() -> None:
    """Exit codes: 0 done, 1 error, 2 usage, 5 the witness does not answer, 6 refused for safety."""
    try:
        app()
    except SafekitError as error:
        print(f"safekit-witness: {error}", file=sys.stderr)
        sys.exit(5 if isinstance(error, PeerError) else 6 if isinstance(error, RefusedError) else 1)
