"""More broken engines, daemons and witnesses: each is caught by histories that CI runs, the short ones among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from safekit.engine import NodeState, data, farm, fence, mirror, node, right
from safekit.engine.actions import Action, AskWitness, WitnessCall
from safekit.engine.around import PeerView
from safekit.engine.durable import facts_of
from safekit.engine.events import Started, WitnessAnswered
from safekit.engine.module import Module, Turn
from safekit.engine.share import Share
from safekit.simulation import run_history
from safekit.simulation.daemon import Daemon
from safekit.simulation.drawing import NEWER as FIRST
from safekit.simulation.witness import Witness

SEEDS = 800
Patch = Callable[[pytest.MonkeyPatch], None]
MUTANTS: dict[str, Patch] = {}


LATE = {
    "stands alone unasked": 570,
    "ignores the epoch of its lease": 600,
    "forgets with its process that something ran": 180,
    "looks only at the nodes of its own list": 340,
    "does not say after which epoch it asks": 1750,
}
"""What needs several rare events at once: histories before these do not find it, which would take half a minute."""


def mutant(patch: Patch) -> Patch:
    MUTANTS[patch.__name__.replace("_", " ")] = patch
    return patch


@mutant
def becomes_primary_while_the_claim_that_it_acknowledged_stands(patch: pytest.MonkeyPatch) -> None:
    original = mirror._claim

    def impatient(turn: Turn, row: str, why: str) -> None:
        report = turn.peer.report
        if report is not None and report.claim and turn.around.awake:
            turn.begin(row, why)
        else:
            original(turn, row, why)

    patch.setattr(mirror, "_claim", impatient)


@mutant
def does_what_is_not_on_disk_yet(patch: pytest.MonkeyPatch) -> None:
    """The durable write is skipped before the acknowledgement."""
    patch.setattr(Daemon, "_queue", lambda daemon, actions: daemon._perform_all(daemon.node, actions, saved=True))


@mutant
def forgets_the_epoch_with_its_process(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(node, "facts_of", lambda module: replace(facts_of(module), epoch=0))


@mutant
def forgets_with_its_process_that_something_ran(patch: pytest.MonkeyPatch) -> None:
    original = node._start

    def careless(state: NodeState, event: Started, now_s: float, actions: list[Action]) -> NodeState:
        modules = {name: replace(module, active=False) for name, module in state.modules.items()}
        return original(replace(state, modules=modules), event, now_s, actions)

    patch.setattr(node, "_start", careless)


@mutant
def takes_over_with_what_the_peer_has_written_since(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(data, "up_to_date", lambda module: True)


@mutant
def stands_alone_unasked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(data, "_is_agreed", lambda turn: True)


@mutant
def follows_whatever_map_it_hears(patch: pytest.MonkeyPatch) -> None:
    """The epoch is ignored."""

    def gullible(turn: Turn) -> None:
        for peer in turn.around.others.values():
            said = farm._said(peer)
            if said is not None and said.map != turn.m.share.map:
                farm._set(turn, map=said.map, map_s=turn.now_s)

    patch.setattr(farm, "_learn", gullible)


@mutant
def keeps_a_bucket_that_the_map_gives_to_another(patch: pytest.MonkeyPatch) -> None:
    original = farm._give

    def greedy(turn: Turn, wanted: int) -> bool:
        return original(turn, wanted | turn.m.share.held)

    patch.setattr(farm, "_give", greedy)


@mutant
def looks_only_at_the_nodes_of_its_own_list(patch: pytest.MonkeyPatch) -> None:
    original = node._others

    def blind(state: NodeState, module: Module, now_s: float) -> dict[str, PeerView]:
        return {name: peer for name, peer in original(state, module, now_s).items() if name in module.spec.nodes}

    patch.setattr(node, "_others", blind)


@mutant
def believes_that_a_lost_host_accepts_nothing(patch: pytest.MonkeyPatch) -> None:
    original = Share.unsure
    patch.setattr(Share, "unsure", lambda share, *args: replace(original(share, *args), held=0))


@mutant
def gives_a_lease_that_another_has(patch: pytest.MonkeyPatch) -> None:
    """Of the witness: each call has what it asks for, also after the lease has ended and is another's."""
    original = Witness._answer

    def generous(witness: Witness, name: str, asked: AskWitness) -> WitnessAnswered:
        if asked.call in {WitnessCall.ACQUIRE, WitnessCall.RENEW}:
            return witness._given(asked, asked.epoch)
        return original(witness, name, asked)

    patch.setattr(Witness, "_answer", generous)


@mutant
def does_not_say_after_which_epoch_it_asks(patch: pytest.MonkeyPatch) -> None:
    """The witness gives the lease to who lacks what another has written."""
    original = Witness._answer

    def asked_plainly(witness: Witness, name: str, asked: AskWitness) -> WitnessAnswered:
        return original(witness, name, replace(asked, after=None))

    patch.setattr(Witness, "_answer", asked_plainly)


@mutant
def trusts_an_old_generation(patch: pytest.MonkeyPatch) -> None:
    """That they were complete once is enough, whoever stood alone since."""

    def trusting(module: Module) -> bool:
        value = module.values.get(data.UP_TO_DATE)
        return not module.spec.has_data or (value is not None and value.value == "up")

    patch.setattr(data, "up_to_date", trusting)


@mutant
def ignores_the_epoch_of_its_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(right, "LEAP", 0)


@mutant
def counts_a_promise_from_when_it_is_heard(patch: pytest.MonkeyPatch) -> None:
    original = node._seen

    def late(state: NodeState, module: Module, name: str, now_s: float) -> PeerView:
        seen = original(state, module, name, now_s)
        known = state.membership.peers.get(name)
        return replace(
            seen,
            echo_s=known.last_s + 2 * module.spec.witness.lease_s if known and module.spec.witness else seen.echo_s,
        )

    patch.setattr(node, "_seen", late)


@mutant
def takes_over_before_the_peer_is_off(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fence, "is_first", lambda turn: False)


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_broken_engine_is_caught_by_what_ci_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    first = FIRST + LATE.get(name, 0)
    for seed in range(first, first + SEEDS):
        if run_history(seed).violation:
            return
    raise AssertionError(f"an engine that {name} passes {SEEDS} histories")
