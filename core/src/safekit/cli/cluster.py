"""`safekit cluster`: make a cluster, let nodes join, see them."""

from __future__ import annotations

import socket
import sys
from typing import Annotated, Any

import typer

from safekit.cli.ask import ask, statuses
from safekit.cli.options import Output
from safekit.cli.output import Format, plain, rows, show
from safekit_sdk import ConfigError, Duration

app = typer.Typer(help="Make a cluster, let nodes join, see them.", no_args_is_help=True)
networks = typer.Typer(help="The networks on which the nodes hear each other.", no_args_is_help=True)
app.add_typer(networks, name="network")
Node = Annotated[str, typer.Option("--node", help="This node's name; its host name when absent.")]
Addresses = Annotated[
    list[str],
    typer.Option("--address", help="This node's address: ADDRESS, or NETWORK=ADDRESS for each of several networks."),
]


@app.command()
def init(
    address: Addresses,
    name: Annotated[str, typer.Option(help="The cluster's name.")] = "cluster",
    node: Node = "",
    port: Annotated[int, typer.Option(help="Port for the traffic between nodes; joins use the next one.")] = 4800,
) -> None:
    """Make this node the first of a new cluster: its key and its cluster file."""
    from safekit.bus import keys
    from safekit.config.cluster import Cluster
    from safekit.settings import Settings

    settings = Settings()
    _refuse_member(settings)
    pair = keys.generate()
    own = node or socket.gethostname()
    cluster = Cluster.new(name, own, _by_network(address), pair.public, port)
    _become_member(settings, pair, cluster)
    print(f"cluster '{name}' made, with node '{own}'")
    print("next: `safekit daemon start`, then `safekit cluster token` for the next node")


@app.command()
def token(
    ttl: Annotated[str, typer.Option(help="How long it may be used.")] = "10m",
    network: Annotated[str, typer.Option(help="The network on which the new node can reach this one.")] = "",
) -> None:
    """Print a token with which one node may join, once."""
    try:
        ttl_s = Duration.parse(ttl).seconds
    except ValueError as error:
        raise ConfigError(str(error), where="--ttl") from None
    print(ask("token", {"ttl_s": ttl_s, "network": network})["token"])


@app.command()
def join(
    token: Annotated[
        str, typer.Argument(help="What `safekit cluster token` printed on a member; - reads it from standard input.")
    ],
    address: Addresses,
    node: Node = "",
) -> None:
    """Join the cluster that issued the token."""
    from safekit.bus import keys
    from safekit.bus.join import Token, ask_to_join
    from safekit.config.cluster import Cluster
    from safekit.settings import Settings

    settings = Settings()
    parsed = Token.parse(sys.stdin.readline() if token == "-" else token)
    _refuse_member(settings)
    pair = keys.generate()
    own = node or socket.gethostname()
    request = {"node": own, "addresses": _by_network(address)}
    cluster = Cluster.from_text(ask_to_join(parsed, request, pair), "the cluster file of the member")
    _become_member(settings, pair, cluster)
    print(f"joined cluster '{cluster.name}' as node '{own}'")
    print("next: `safekit daemon start`; the modules' configuration comes by itself")


@app.command()
def remove(
    node: Annotated[str, typer.Argument(help="Its name.")],
    force: Annotated[
        bool, typer.Option("--force", help="It does not answer, and you know that it is off and stays off.")
    ] = False,
) -> None:
    """Take a node out of the cluster: its key is not heard any more. It must run nothing."""
    named = ask("cluster-remove", {"node": node, "force": force})["modules"]
    print(f"'{node}' is out of the cluster")
    for module in named:
        print(f"next: take it out of the module: `safekit plan {module}`, then `safekit apply {module}`")
    print(f"on '{node}', if it comes back: `safekit daemon stop`, then move cluster.yaml and node.key away")


@networks.command("add")
def add_network(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    addresses: Annotated[list[str], typer.Argument(metavar="NODE=ADDRESS...", help="The nodes' addresses on it.")],
    port: Annotated[int, typer.Option(help="Port for the traffic between nodes on it.")] = 4800,
) -> None:
    """Have the nodes hear each other on one more network, from now on."""
    pairs = [text.partition("=") for text in addresses]
    if wrong := next((text for text in addresses if "=" not in text), None):
        raise ConfigError(f"'{wrong}' is not NODE=ADDRESS", where="safekit cluster network add")
    named = {node: address for node, _, address in pairs}
    if len(named) != len(pairs):
        raise ConfigError("two addresses for one node", hint="NODE=ADDRESS, once for each node")
    ask("network-add", {"network": name, "port": port, "addresses": named})
    print(f"network '{name}' added; who hears whom: `safekit cluster status`")


@networks.command("remove")
def remove_network(name: Annotated[str, typer.Argument(help="What it is called.")]) -> None:
    """Give a network up. The nodes must have another one in common."""
    ask("network-remove", {"network": name})
    print(f"network '{name}' removed")


@app.command()
def status(output: Output = Format.TABLE) -> None:
    """Show every node: whether it answers, and how it hears the others."""
    show(statuses(), output, _table)


def _table(answers: dict[str, Any]) -> Any:
    lines = []
    for node, answer in answers.items():
        if error := answer.get("error"):
            lines.append((node, "unreachable", "", plain(error["message"])))
            continue
        result = answer["result"]
        heard = ", ".join(f"{p['node']} {'alive' if p['alive'] else 'LOST'}" for p in result["peers"])
        lines.append((node, "running", heard or "no peers", plain("; ".join(result["alarms"]))))
    return rows("", ("NODE", "DAEMON", "HEARS", "ALARMS"), lines)


def _by_network(addresses: list[str]) -> dict[str, str]:
    """`["10.0.0.1"]` or `["lan=10.0.0.1", "back=10.1.0.1"]`; the empty name is the first network."""
    pairs = [text.partition("=") if "=" in text else ("", "", text) for text in addresses]
    found = {network: address for network, _, address in pairs}
    if len(found) != len(addresses):
        raise ConfigError("two addresses on one network", where="--address", hint="write NETWORK=ADDRESS for each")
    return found


def _refuse_member(settings: Any) -> None:
    if settings.cluster_file.exists() or settings.key_file.exists():
        raise ConfigError(
            "this node is in a cluster already",
            where=str(settings.etc),
            hint="to leave it: `safekit daemon stop`, then move cluster.yaml and node.key away",
        )


def _become_member(settings: Any, pair: Any, cluster: Any) -> None:
    """The key first: a cluster file without its key would be refused, a key alone is no member."""
    from safekit.bus import keys

    settings.etc.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys.save(pair, settings.key_file)
    try:
        cluster.save(settings.cluster_file)
    except BaseException:
        settings.key_file.unlink(missing_ok=True)
        raise
