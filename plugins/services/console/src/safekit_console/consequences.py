"""What an action does to the users of a service and to its data, said before it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from safekit_console.outlook import Nodes, Sentence, Tone, Traits

ACTIONS: Final = (
    "start",
    "stop",
    "restart",
    "swap",
    "stopstart",
    "forcestop",
    "prim",
    "second",
    "failover-on",
    "failover-off",
)
"""As safekitd calls them; in the order in which they are offered."""
LABELS: Final = {
    "start": "Start",
    "stop": "Stop",
    "restart": "Restart in place",
    "swap": "Swap roles",
    "stopstart": "Stop and start again",
    "forcestop": "Stop by force",
    "prim": "Make primary",
    "second": "Make secondary",
    "failover-on": "Automatic failover on",
    "failover-off": "Automatic failover off",
}
ON_ONE_NODE: Final = frozenset({"prim", "second"})


@dataclass(frozen=True, slots=True)
class Consequences:
    sentences: tuple[Sentence, ...]
    confirm: bool
    """Data are at stake: the module's name has to be given."""


def of(action: str, name: str, on: tuple[str, ...], nodes: Nodes, traits: Traits, *, force: bool) -> Consequences:
    """`on`: the nodes that are asked."""
    case = _Case(name, on, nodes, traits, force)
    return Consequences(tuple(_SAID[action](case)), _at_stake(action, case))


@dataclass(frozen=True, slots=True)
class _Case:
    name: str
    on: tuple[str, ...]
    nodes: Nodes
    traits: Traits
    force: bool

    @property
    def words(self) -> dict[str, str]:
        return {"module": self.name, "nodes": ", ".join(self.on)}

    @property
    def primary(self) -> str:
        return next((name for name, module in self.nodes.items() if module and module.is_primary), "")

    @property
    def standby(self) -> str:
        """The node that could take over now."""
        return next(
            (name for name, module in self.nodes.items() if module and module.state == "SECOND" and module.is_ready), ""
        )

    @property
    def left(self) -> list[str]:
        """Nodes that serve, and are not asked."""
        return [name for name, module in self.nodes.items() if name not in self.on and module and module.runs]


def _at_stake(action: str, case: _Case) -> bool:
    return (action == "prim" and case.force) or (action == "forcestop" and case.traits.has_data)


def _start(case: _Case) -> Iterator[Sentence]:
    yield Sentence("%(module)s starts on %(nodes)s.", Tone.STILL, case.words)
    if case.primary:
        more = case.words | {"primary": case.primary}
        yield Sentence("Users notice nothing: %(primary)s goes on serving them.", Tone.GOOD, more)


def _stop(case: _Case) -> Iterator[Sentence]:
    yield Sentence("%(module)s stops on %(nodes)s, and stays so until it is started.", Tone.STILL, case.words)
    yield from _served_then(case)


def _served_then(case: _Case) -> Iterator[Sentence]:
    asked = [case.nodes.get(name) for name in case.on]
    if not any(module and module.runs for module in asked):
        if case.primary:
            more = case.words | {"primary": case.primary}
            yield Sentence("Users notice nothing: %(primary)s goes on serving them.", Tone.GOOD, more)
            yield Sentence("Until it is back, a failure of %(primary)s would stop the service.", Tone.CARE, more)
    elif case.left:
        more = case.words | {"others": ", ".join(case.left)}
        yield Sentence("%(others)s serve all clients; connections to %(nodes)s end.", Tone.CARE, more)
    elif case.standby and case.standby not in case.on:
        more = case.words | {"standby": case.standby}
        yield Sentence(
            "%(standby)s takes over: users notice an interruption as long as a stop and a start.", Tone.CARE, more
        )
    else:
        yield Sentence("Nobody serves %(module)s then: users lose it.", Tone.BAD, case.words)


def _forcestop(case: _Case) -> Iterator[Sentence]:
    yield Sentence(
        "What runs on %(nodes)s is killed at once; what it has not written yet is lost.", Tone.BAD, case.words
    )
    yield from _served_then(case)


def _restart(case: _Case) -> Iterator[Sentence]:
    yield Sentence(
        "The application stops and starts in place on %(nodes)s; its address and the roles stay.",
        Tone.STILL,
        case.words,
    )
    yield Sentence("Users notice an interruption as long as a stop and a start of it.", Tone.CARE, case.words)


def _stopstart(case: _Case) -> Iterator[Sentence]:
    yield Sentence("%(module)s stops on %(nodes)s and starts again.", Tone.STILL, case.words)
    yield from _served_then(case)


def _swap(case: _Case) -> Iterator[Sentence]:
    more = case.words | {"primary": case.primary or "-", "standby": case.standby or "-"}
    if not case.primary or not case.standby:
        yield Sentence(
            "It will be refused: there have to be a primary and a secondary that is ready.", Tone.BAD, case.words
        )
        return
    yield Sentence("%(standby)s becomes primary, and %(primary)s secondary.", Tone.STILL, more)
    yield Sentence(
        "Users notice an interruption as long as a stop and a start of it. No data are lost.", Tone.CARE, more
    )


def _prim(case: _Case) -> Iterator[Sentence]:
    yield Sentence("%(nodes)s becomes primary of %(module)s.", Tone.STILL, case.words)
    if not case.force:
        yield Sentence("It is refused if writes could be lost, or if it could run twice.", Tone.GOOD, case.words)
        return
    more = case.words | {"other": next((name for name in case.nodes if name not in case.on), "-")}
    if case.traits.has_data:
        yield Sentence("Writes that only %(other)s has are given up, and cannot be merged later.", Tone.BAD, more)
    yield Sentence(
        "If %(other)s still runs it, it runs twice. Make sure that %(other)s is off before you go on.", Tone.BAD, more
    )


def _second(case: _Case) -> Iterator[Sentence]:
    yield Sentence("%(nodes)s starts, and waits for the other node to be primary.", Tone.STILL, case.words)


def _failover_on(case: _Case) -> Iterator[Sentence]:
    yield Sentence("Nodes take %(module)s over by themselves again.", Tone.GOOD, case.words)


def _failover_off(case: _Case) -> Iterator[Sentence]:
    yield Sentence(
        "If its primary fails, %(module)s stays down until you act. It stays so after a reboot.", Tone.CARE, case.words
    )


_SAID: Final[dict[str, Callable[[_Case], Iterator[Sentence]]]] = {
    "start": _start,
    "stop": _stop,
    "forcestop": _forcestop,
    "restart": _restart,
    "stopstart": _stopstart,
    "swap": _swap,
    "prim": _prim,
    "second": _second,
    "failover-on": _failover_on,
    "failover-off": _failover_off,
}


def removal(name: str) -> tuple[Sentence, ...]:
    words = {"module": name}
    return (
        Sentence("%(module)s is taken off every node. It has to be stopped everywhere.", Tone.CARE, words),
        Sentence(
            "Its configurations are kept, and can be applied again. Its data stay where they are.", Tone.GOOD, words
        ),
    )
