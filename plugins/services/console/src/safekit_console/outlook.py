"""What would happen if a node died now, in sentences. The same facts that the engine decides on, told beforehand.

A sentence is a text with places for words, so that it can be put into other languages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from safekit_console.state import ModuleStatus
from safekit_sdk import Duration

Nodes = Mapping[str, ModuleStatus | None]


class Tone(StrEnum):
    GOOD = "good"
    """The service goes on by itself."""
    CARE = "care"
    """Somebody has to act, or the next failure would hurt."""
    BAD = "bad"
    """The service stops, or data may be lost."""
    STILL = "still"
    """Nothing would change."""


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    tone: Tone = Tone.STILL
    words: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Traits:
    """Of a module's configuration, what decides here."""

    isolation: str = ""
    witness: bool = False
    lease_s: float = 0.0
    fences: bool = False
    has_data: bool = False
    lost_after: str = ""
    description: str = ""

    @classmethod
    def of(cls, compiled: Mapping[str, Any]) -> Traits:
        witness = compiled.get("witness")
        return cls(
            isolation=str(compiled["isolation"]),
            witness=witness is not None,
            lease_s=float(witness["lease_s"]) if witness else 0.0,
            fences=bool(compiled.get("fences")),
            has_data=bool(compiled.get("has_data")),
            lost_after=str(compiled["heartbeat"]["lost_after"]),
            description=str(compiled.get("description") or ""),
        )


def if_it_died(name: str, node: str, nodes: Nodes, traits: Traits) -> Sentence:
    """What becomes of the module when this node dies now."""
    own = nodes.get(node)
    words = {"module": name, "node": node, "other": _other(node, nodes)}
    if own is None:
        return Sentence("%(node)s does not answer; what it runs is not known here.", Tone.CARE, words)
    if own.state == "STOP":
        return Sentence("%(module)s is stopped on %(node)s: nothing would change.", Tone.STILL, words)
    if own.kind == "farm":
        return _farm(node, nodes, words)
    if own.kind == "light":
        return Sentence("%(module)s stops on %(node)s; a light module has no other node.", Tone.BAD, words)
    if own.state == "WAIT":
        return Sentence("%(node)s only waits: nothing would change.", Tone.STILL, words)
    if own.state == "SECOND":
        return Sentence("%(other)s goes on alone. Users notice nothing.", Tone.GOOD, words)
    return _primary_dies(own, nodes.get(words["other"]), traits, words)


def _primary_dies(own: ModuleStatus, other: ModuleStatus | None, traits: Traits, words: dict[str, str]) -> Sentence:
    if other is None or other.state in {"STOP", "WAIT"}:
        return Sentence("The service stops until %(node)s is back: no other node stands by.", Tone.BAD, words)
    if not other.is_ready:
        return Sentence("The service stops until %(node)s is back: %(other)s is not ready yet.", Tone.BAD, words)
    if not own.failover:
        return Sentence("%(other)s waits for you: automatic failover is off.", Tone.CARE, words)
    if traits.witness:
        if any(value.resource.startswith("splitbrain.") and value.value == "down" for value in other.values):
            return Sentence("%(other)s waits: it does not reach the witness.", Tone.BAD, words)
        more = words | {"lease": str(Duration(traits.lease_s))}
        return Sentence("%(other)s takes over by itself, when the right to run has ended (%(lease)s).", Tone.GOOD, more)
    if traits.fences:
        return Sentence("%(other)s switches %(node)s off and takes over by itself.", Tone.GOOD, words)
    if traits.isolation == "availability":
        more = words | {"time": traits.lost_after}
        return Sentence(
            "%(other)s takes over by itself after %(time)s of silence. If only the network failed, both would run it.",
            Tone.GOOD,
            more,
        )
    return Sentence(
        "%(other)s waits for you: without a witness nobody can tell a dead %(node)s from a cut network.",
        Tone.CARE,
        words,
    )


def _farm(node: str, nodes: Nodes, words: dict[str, str]) -> Sentence:
    own = nodes[node]
    left = [name for name, module in nodes.items() if name != node and module and module.state == "UP"]
    if own is None or not own.runs:
        return Sentence("%(node)s serves nobody now: nothing would change.", Tone.STILL, words)
    if not left:
        return Sentence("The service stops until %(node)s is back: no other node serves.", Tone.BAD, words)
    more = words | {"share": f"{share(own):.0%}", "others": ", ".join(left)}
    return Sentence("Its part of the clients (%(share)s) goes to %(others)s within seconds.", Tone.GOOD, more)


def share(module: ModuleStatus) -> float:
    """A farm's part of the clients, from 0 to 1."""
    return module.farm.held / max(len(module.farm.owners), 1) if module.farm else 0.0


def _other(node: str, nodes: Nodes) -> str:
    return next((name for name in nodes if name != node), "")


def headline(modules: Mapping[str, Nodes], traits: Mapping[str, Traits]) -> list[Sentence]:
    """The most important first; one sentence when all is well."""
    found = list(_now(modules))
    if not found:
        found = list(_soon(modules, traits))
    if not modules:
        return [Sentence("There is no module yet.")]
    return found or [Sentence("Any one node may fail now: every service goes on.", Tone.GOOD)]


def _now(modules: Mapping[str, Nodes]) -> Iterator[Sentence]:
    """Services that do not run although they were started somewhere."""
    for name, nodes in modules.items():
        known = [module for module in nodes.values() if module]
        if any(module.desired for module in known) and not any(m.runs and m.is_ready for m in known):
            starting = any(module.readiness == "Transient" for module in known)
            text = "%(module)s is on its way, and does not serve yet." if starting else "%(module)s serves nobody now."
            yield Sentence(text, Tone.CARE if starting else Tone.BAD, {"module": name})


def _soon(modules: Mapping[str, Nodes], traits: Mapping[str, Traits]) -> Iterator[Sentence]:
    for name, nodes in modules.items():
        for node, own in nodes.items():
            would = if_it_died(name, node, nodes, traits.get(name, Traits()))
            if own is not None and own.runs and would.tone in {Tone.BAD, Tone.CARE}:
                stops = would.tone is Tone.BAD
                text = (
                    "If %(node)s failed now, %(module)s would stop."
                    if stops
                    else "If %(node)s failed now, %(module)s would wait for you."
                )
                yield Sentence(text, would.tone, {"node": node, "module": name})
