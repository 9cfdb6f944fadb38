"""Which packets the switch drops: a table of paths between two machines, and the nft rules that say the same. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from .layout import LabSpec, port
from .terms import Direction

ALL = 100.0
_LOSS_STEPS = 10_000


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """One direction between two machines on one network."""

    network: int
    sender: str
    receiver: str


def ways(
    spec: LabSpec, node: str, to: str | None = None, network: int | None = None, direction: Direction = "both"
) -> Iterator[Way]:
    """The ways that a fault of node touches; direction is seen from node. LabError for an unknown name or network."""
    spec.machine(node)
    peers = [spec.machine(to).name] if to else [machine.name for machine in spec.machines]
    networks = range(spec.networks) if network is None else (spec.check_network(network),)
    for each, peer in product(networks, peers):
        if peer == node:
            continue
        if direction != "out":
            yield Way(each, peer, node)
        if direction != "in":
            yield Way(each, node, peer)


def ruleset(losses: Mapping[Way, float], silent: Iterable[tuple[str, int]]) -> str:
    """nft text that replaces the table at once. silent ports neither send nor receive anything, ARP included."""
    rules = [*_loss_rules(losses), *_silence_rules(silent)]
    body = "".join(f"    {rule}\n" for rule in rules)
    return (
        "table bridge lab\ndelete table bridge lab\ntable bridge lab {\n"
        "  chain forward {\n    type filter hook forward priority 0; policy accept;\n" + body + "  }\n}\n"
    )


def _loss_rules(losses: Mapping[Way, float]) -> Iterator[str]:
    by_percent = defaultdict(list)
    for way, percent in sorted(losses.items()):
        by_percent[percent].append(f'"{port(way.sender, way.network)}" . "{port(way.receiver, way.network)}"')
    for percent, pairs in sorted(by_percent.items()):
        chance = "" if percent >= ALL else f"numgen random mod {_LOSS_STEPS} < {round(percent * _LOSS_STEPS / 100)} "
        yield f"iifname . oifname {{ {', '.join(pairs)} }} {chance}drop"


def _silence_rules(silent: Iterable[tuple[str, int]]) -> Iterator[str]:
    ports = ", ".join(f'"{port(name, network)}"' for name, network in sorted(silent))
    if ports:
        yield f"iifname {{ {ports} }} drop"
        yield f"oifname {{ {ports} }} drop"
