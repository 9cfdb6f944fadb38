"""`safekit farm`: who serves which clients, and taking a node out of it without breaking a connection."""

from __future__ import annotations

import time
from collections import Counter
from typing import Annotated, Any

import typer

from safekit.cli.ask import ask_nodes, one_result, results, statuses
from safekit.cli.options import Output, Timeout
from safekit.cli.output import Format, plain, rows, show
from safekit.engine.spec import MAX_WEIGHT
from safekit_sdk import ConfigError

app = typer.Typer(help="Who serves which clients of a farm; drain a node.", no_args_is_help=True)
Module = Annotated[str, typer.Argument(help="The module.")]
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="The node.")]
Only = Annotated[list[str] | None, typer.Option("--module", help="Only this module; every farm when absent.")]
POLL_S = 0.5
SESSION = "client_session"


@app.command("show")
def show_farm(
    name: Module,
    client: Annotated[str, typer.Option(help="Which server this client gets: ADDRESS, or ADDRESS:PORT.")] = "",
    over: Annotated[float, typer.Option(help="Seconds over which traffic is counted.", min=0.1, max=60)] = 1.0,
    output: Output = Format.TABLE,
) -> None:
    """Show each node's buckets, share and live traffic."""
    nodes = _nodes(name)
    address, port = _parted(client)
    first = _inspected(name, tuple(nodes), {})
    time.sleep(over)
    question = {key: value for key, value in (("client", address), ("port", port)) if value}
    second = _inspected(name, tuple(nodes), question)
    found = {
        "module": name,
        "nodes": [_line(node, nodes[node], first.get(node, {}), second.get(node, {}), over) for node in nodes],
        "map": _map(nodes),
        "client": _answers(client, nodes, second) if client else [],
    }
    show(found, output, _tables)


def _nodes(name: str) -> dict[str, dict[str, Any]]:
    """The module on each node that answers; ConfigError when it is not a farm."""
    found = {}
    for node, answer in statuses().items():
        modules = (answer.get("result") or {}).get("modules", ())
        if (module := next((module for module in modules if module["name"] == name), None)) is not None:
            found[node] = module
    if not found:
        raise ConfigError(f"no node has a module '{name}'", hint="`safekit module list` shows those there are")
    kind = next(iter(found.values()))["kind"]
    if kind != "farm":
        raise ConfigError(f"module '{name}' is a {kind}, and no farm", hint="`safekit status` shows its nodes")
    return found


def _inspected(name: str, nodes: tuple[str, ...], question: dict[str, str]) -> dict[str, dict[str, dict[str, str]]]:
    """What the resources on each node say; nothing of a node that does not answer."""
    answers = ask_nodes("inspect", {"module": name, "question": question}, nodes)
    return {node: answer["result"] for node, answer in answers.items() if "result" in answer}


def _line(node: str, module: dict[str, Any], first: Any, second: Any, over_s: float) -> dict[str, Any]:
    farm = module["farm"]
    return {
        "node": node,
        "state": f"{module['state']} {module['readiness']}",
        "weight": farm["weight"],
        "buckets": farm["held"],
        "share": round(farm["held"] / len(farm["owners"]), 4),
        "packets_per_s": round(max(_sum(second, "served") - _sum(first, "served"), 0) / over_s, 1),
        "connections": _sum(second, "connections"),
        "mode": ", ".join(sorted({said["mode"] for said in second.values() if "mode" in said})),
    }


def _sum(said: dict[str, dict[str, str]], fact: str) -> int:
    return sum(int(facts[fact]) for facts in said.values() if facts.get(fact, "").isdigit())


def _map(nodes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    farm = _newest(nodes)
    agreed = all(module["farm"]["epoch"] == farm["epoch"] for module in nodes.values())
    return {
        "epoch": farm["epoch"],
        "leader": farm["leader"],
        "director": farm["director"],
        "moving": farm["moving"],
        "agreed": agreed,
        "owners": dict(Counter(owner for owner in farm["owners"] if owner)),
    }


def _newest(nodes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The farm of the node that knows the newest map."""
    farms: list[dict[str, Any]] = [module["farm"] for module in nodes.values()]
    return max(farms, key=lambda farm: farm["epoch"])


def _answers(client: str, nodes: dict[str, dict[str, Any]], said: Any) -> list[str]:
    """One sentence for each rule: the server, and why."""
    owners = _newest(nodes)["owners"]
    facts = next((f for node in said.values() for f in node.values() if "bucket" in f or "error" in f), None)
    if facts is None:
        return [f"{client}: no node answers that, as the module does not run"]
    if "error" in facts:
        raise ConfigError(f"--client: {facts['error']}", hint="give an address, or ADDRESS:PORT")
    lines = [_answer(client, key, rule, facts, owners) for key, rule in facts.items() if key.startswith("rule ")]
    return [*lines, _answer(client, "rule any other port", "client_address", facts, owners)]


def _answer(client: str, key: str, rule: str, facts: dict[str, str], owners: list[str]) -> str:
    what = f"{client} to {key.removeprefix('rule ')}"
    if rule != SESSION:
        bucket = int(facts["bucket"])
        return f"{what}: {owners[bucket] or 'nobody'}, as its address is in bucket {bucket}"
    if "bucket of the session" not in facts:
        return f"{what}: each connection its own server, by its port; ask with --client ADDRESS:PORT"
    bucket = int(facts["bucket of the session"])
    return f"{what}: {owners[bucket] or 'nobody'}, as its address and port are in bucket {bucket}"


def _parted(client: str) -> tuple[str, str]:
    """ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT."""
    if client.startswith("["):
        address, _, port = client[1:].partition("]")
        return address, port.removeprefix(":")
    if client.count(":") == 1:
        address, _, port = client.partition(":")
        return address, port
    return client, ""


def _tables(found: dict[str, Any]) -> Any:
    from rich.console import Group

    lines = [
        (
            line["node"],
            line["state"],
            str(line["weight"]),
            str(line["buckets"]),
            f"{line['share']:.1%}",
            f"{line['packets_per_s']:g}/s",
            str(line["connections"]),
        )
        for line in found["nodes"]
    ]
    table = rows("", ("NODE", "STATE", "WEIGHT", "BUCKETS", "SHARE", "PACKETS", "CONNECTIONS"), lines)
    known = found["map"]
    told = f"map {known['epoch']}, made by {known['leader'] or 'nobody yet'}"
    if any(line["mode"] == "directed" for line in found["nodes"]):
        told += f"; {known['director'] or 'nobody'} answers for the address and directs"
    if known["moving"]:
        told += f"; connections of {known['moving']} buckets stay where they were"
    if not known["agreed"]:
        told += "; not all nodes have it yet"
    return Group(table, "", plain(told), *map(plain, found["client"]))


def _farms(node: str, only: list[str] | None) -> list[str]:
    """The farms that this node has a part in."""
    answers = statuses()
    if node not in answers:
        raise ConfigError(f"there is no node '{node}' in this cluster", hint=f"there are: {', '.join(answers)}")
    modules = results({node: answers[node]})[node]["modules"]
    found = [module["name"] for module in modules if module["kind"] == "farm"]
    for name in only or ():
        if name not in found:
            raise ConfigError(f"'{name}' is no farm on {node}", hint=f"there are: {', '.join(found) or 'none'}")
    if not found:
        raise ConfigError(f"{node} has no farm")
    return only or found


def _set_weight(node: str, modules: list[str], weight: int | None) -> None:
    for module in modules:
        args = {"module": module, "weight": weight}
        results(ask_nodes("weight", args, (node,)))


@app.command()
def drain(node: NodeName, module: Only = None, timeout: Timeout = 300.0) -> None:
    """Give a node no new clients, and wait until the connections it has are closed. It stays so until `undrain`."""
    modules = _farms(node, module)
    _set_weight(node, modules, 0)
    deadline_s = time.monotonic() + timeout
    while (left := _left(node, modules)) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    if left:
        told = ", ".join(f"{name}: {count}" for name, count in left.items())
        raise TimeoutError(f"{node} gets no new clients, and still has connections after {timeout:g} s ({told})")
    print(f"{node} is drained: no new clients, no connections; `safekit farm undrain {node}` takes it in again")


def _left(node: str, modules: list[str]) -> dict[str, int]:
    """Modules with buckets or connections on the node, each with how many. PeerError when the node does not say it;
    whether the others answer makes no difference."""
    status = one_result(ask_nodes("status", {}, (node,), timeout_s=3.0))
    held = {found["name"]: found["farm"]["held"] for found in status["modules"] if found["name"] in modules}
    counts = {name: held.get(name, 0) + _connections(node, name) for name in modules}
    return {name: count for name, count in counts.items() if count}


def _connections(node: str, module: str) -> int:
    return _sum(one_result(ask_nodes("inspect", {"module": module}, (node,))), "connections")


@app.command()
def undrain(node: NodeName, module: Only = None) -> None:
    """Give a node its configured part of the clients again."""
    _set_weight(node, _farms(node, module), None)
    print(f"{node} gets its part of the clients again")


@app.command()
def weight(
    node: NodeName,
    weight: Annotated[int, typer.Argument(min=0, max=MAX_WEIGHT, help="In proportion to the others'; 100 is usual.")],
    module: Only = None,
) -> None:
    """Give a node another part of the clients, until `undrain`. Connections stay where they are."""
    _set_weight(node, _farms(node, module), weight)
    print(f"weight of {node}: {weight}")
