"""The simulator is worth what it finds: each of these broken engines is caught within a bounded number of seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from safekit.engine import commands, farm, meeting, membership, mirror, node, progress, right
from safekit.engine.durable import facts_of
from safekit.engine.events import WitnessAnswered
from safekit.engine.module import Module, Turn
from safekit.engine.reports import ModuleReport
from safekit.simulation import draw, run_history

SEEDS = 800
"""About 12 s for one that is not caught."""

Patch = Callable[[pytest.MonkeyPatch], None]
MUTANTS: dict[str, Patch] = {}


def mutant(patch: Patch) -> Patch:
    MUTANTS[patch.__name__.replace("_", " ")] = patch
    return patch


def after(original: Callable[..., None], **changes: object) -> Callable[..., None]:
    """The original, and then these fields of the module are so."""

    def broken(turn: Turn, *args: object) -> None:
        original(turn, *args)
        turn.set(**changes)

    return broken


@mutant
def takes_over_while_the_peer_is_active(patch: pytest.MonkeyPatch) -> None:
    def eager(turn: Turn) -> None:
        if turn.m.steady and turn.peer.report is not None and turn.now_s - turn.m.since_s > 2.0:
            turn.begin("takeover", "why not")

    patch.setattr(mirror, "_from_second", eager)


@mutant
def claims_and_does_not_wait_for_the_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(mirror, "_claim", lambda turn, row, why: turn.begin(row, why))


@mutant
def insists_on_its_claim_although_the_peer_claims_too(patch: pytest.MonkeyPatch) -> None:
    def stubborn(turn: Turn, row: str, why: str) -> None:
        report = turn.peer.report
        if not turn.around.awake:
            return
        if not turn.m.claim:
            turn.set(claim=(turn.around.incarnation << 20) + turn.m.runs + 1)
            turn.publish()
        elif report is not None and report.acknowledged == turn.m.claim:
            turn.begin(row, why)

    patch.setattr(mirror, "_claim", stubborn)


@mutant
def keeps_a_claim_that_it_does_not_pursue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(mirror, "_yield", mirror._stay)


@mutant
def does_not_record_that_it_is_active(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(node, "facts_of", lambda module: replace(facts_of(module), active=False))


@mutant
def ignores_its_own_sleep(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(membership, "overslept_s", lambda state, now_s: 0.0)


@mutant
def believes_after_a_sleep_what_it_hears_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(membership, "awake", lambda state, now_s: True)
    patch.setattr(node, "_shaken", lambda module, lost, lapsed: module)


@mutant
def believes_that_a_lost_host_has_stopped_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progress, "host_lost", after(progress.host_lost, active=False))


@mutant
def believes_that_a_stuck_stop_has_stopped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progress, "_stuck", after(progress._stuck, active=False))


@mutant
def keeps_the_epoch_of_the_primary_before(patch: pytest.MonkeyPatch) -> None:
    original = Turn._take

    def same(turn: Turn, row: object) -> None:
        epoch = turn.m.epoch
        original(turn, row)  # type: ignore[arg-type]
        turn.set(epoch=max(epoch, 1))

    patch.setattr(Turn, "_take", same)


@mutant
def takes_over_under_safety(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(mirror, "_lost_primary", lambda turn: turn.begin("takeover", "silence"))


@mutant
def never_loses_when_both_are_primary(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(meeting, "loses", lambda turn, report: False)


@mutant
def loses_to_a_node_that_only_cleans_up(patch: pytest.MonkeyPatch) -> None:
    def any_active(turn: Turn) -> ModuleReport | None:
        report = turn.peer.report
        return report if report is not None and turn.peer.alive and turn.m.active and report.active else None

    patch.setattr(meeting, "_other_primary", any_active)


@mutant
def starts_anew_after_a_failed_start_without_a_stop(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progress, "_start_failed", lambda turn, row, event: turn.begin(row.name, "again"))


@mutant
def becomes_primary_without_the_data(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(commands, "unfit", lambda turn: "")


@mutant
def hands_over_before_it_has_stopped(patch: pytest.MonkeyPatch) -> None:
    original = commands._swap

    def hasty(turn: Turn, by: str) -> None:
        original(turn, by)
        if turn.m.run is not None:
            turn.set(active=False, handover=True)

    patch.setattr(commands, "_swap", hasty)


@mutant
def remembers_an_operators_word_that_the_peer_has_contradicted(patch: pytest.MonkeyPatch) -> None:
    original = commands._prim

    def stubborn(turn: Turn, force: bool, by: str) -> None:
        original(turn, force, by)
        turn.set(chosen_alone=turn.m.chosen)

    def deaf(turn: Turn) -> None:
        report = turn.peer.report
        turn.set(acknowledged=report.claim if report is not None and turn.peer.alive else turn.m.acknowledged)

    patch.setattr(commands, "_prim", stubborn)
    patch.setattr(mirror, "_acknowledge", deaf)


@mutant
def acquires_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(farm, "_free", lambda turn: ~0)


@mutant
def acquires_what_is_free_under_another_map(patch: pytest.MonkeyPatch) -> None:
    def hasty(turn: Turn) -> int:
        free = ~0
        for peer in turn.around.others.values():
            said = farm._said(peer)
            free &= ~said.held if said is not None else (~0 if peer.absent else 0)
        return free

    patch.setattr(farm, "_free", hasty)


@mutant
def acquires_from_who_was_not_silent_for_long_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(membership, "lease_s", lambda spec: 2 * spec.lost_after_s)


@mutant
def goes_on_serving_after_a_sleep(patch: pytest.MonkeyPatch) -> None:
    original = node._shaken

    def careless(module: Module, lost: bool, lapsed: bool) -> Module:
        return original(module, lost, False)

    patch.setattr(node, "_shaken", careless)


@mutant
def says_that_it_has_released_when_it_orders_it(patch: pytest.MonkeyPatch) -> None:
    original = farm._give

    def early(turn: Turn, wanted: int) -> None:
        original(turn, wanted)
        farm._set(turn, held=wanted)

    patch.setattr(farm, "_give", early)


@mutant
def believes_a_new_host_about_the_rules_of_an_old_one(patch: pytest.MonkeyPatch) -> None:
    original = farm._order

    def hasty(turn: Turn) -> bool:
        cleanup = turn.m.cleanup
        turn.m = replace(turn.m, cleanup=False)
        settled = original(turn)
        turn.m = replace(turn.m, cleanup=cleanup)
        return settled

    patch.setattr(farm, "_order", hasty)


@mutant
def never_proposes_after_the_first_map(patch: pytest.MonkeyPatch) -> None:
    original = farm._propose

    def lazy(turn: Turn) -> None:
        if turn.m.share.map.epoch == 0:
            original(turn)

    patch.setattr(farm, "_propose", lazy)


WITNESSED: dict[str, Patch] = {}
"""Found in histories with a witness, of which there is one in three."""


def witnessed(patch: Patch) -> Patch:
    WITNESSED[patch.__name__.replace("_", " ")] = patch
    return patch


@witnessed
def asks_the_witness_before_its_own_promise_has_ended(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(right, "may_ask_s", lambda turn: -math.inf)


@witnessed
def uses_more_of_a_lease_than_clocks_allow(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(right, "USABLE", 3.0)


@witnessed
def goes_on_without_a_right(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(right, "enforce", lambda turn: False)
    patch.setattr(right, "limits", lambda module, promised_s: right.NEVER)


@witnessed
def takes_over_without_a_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(right, "has", lambda turn: True)


@witnessed
def counts_a_lease_from_its_answer(patch: pytest.MonkeyPatch) -> None:
    original = right.answered

    def late(turn: Turn, event: WitnessAnswered) -> None:
        witness = right.witness_of(turn.m)
        if witness is not None:
            right._set(turn, asked_s=turn.now_s + 2 * witness.lease_s)
        original(turn, event)

    patch.setattr(right, "answered", late)


@pytest.mark.parametrize("name", list(WITNESSED))
def test_a_broken_right_to_run_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    WITNESSED[name](monkeypatch)
    for seed in range(3 * SEEDS):
        if draw(seed).module.witness is not None and run_history(seed).violation:
            return
    raise AssertionError(f"an engine that {name} passes {3 * SEEDS} histories")


@pytest.mark.long
@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_broken_engine_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    for seed in range(SEEDS):
        if run_history(seed, witness=False).violation:
            return
    raise AssertionError(f"an engine that {name} passes {SEEDS} histories")
