"""What would happen if a node died now, and what an action means."""

from __future__ import annotations

from typing import Any

import pytest
from safekit_console import consequences
from safekit_console.limiting import LockOut, network_of
from safekit_console.outlook import Tone, Traits, headline, if_it_died
from safekit_console.roles import ROLES, Role, both, role_for
from safekit_console.state import ModuleStatus

from console.safekitd import module

WITNESS = Traits(isolation="safety", witness=True, lease_s=10.0)
FENCE = Traits(isolation="safety", fences=True)
SAFE = Traits(isolation="safety")
FREE = Traits(isolation="availability", lost_after="1s")
NO_WITNESS = [{"resource": "splitbrain.w", "value": "down"}]


def nodes(first: Any, second: Any) -> dict[str, ModuleStatus | None]:
    pairs = (("node1", first), ("node2", second))
    return {name: ModuleStatus.model_validate(one) if one else None for name, one in pairs}


@pytest.mark.parametrize(
    ("first", "second", "traits", "tone", "words"),
    [
        (module("web", "PRIM"), module("web", "SECOND"), FREE, Tone.GOOD, "takes over by itself after"),
        (module("web", "PRIM"), module("web", "SECOND"), WITNESS, Tone.GOOD, "the right to run has ended"),
        (module("web", "PRIM"), module("web", "SECOND"), FENCE, Tone.GOOD, "switches"),
        (module("web", "PRIM"), module("web", "SECOND"), SAFE, Tone.CARE, "waits for you"),
        (module("web", "PRIM"), module("web", "SECOND", values=NO_WITNESS), WITNESS, Tone.BAD, "the witness"),
        (module("web", "PRIM", failover=False), module("web", "SECOND"), FREE, Tone.CARE, "failover is off"),
        (module("web", "PRIM"), module("web", "SECOND", "Transient"), FREE, Tone.BAD, "not ready"),
        (module("web", "ALONE"), module("web", "WAIT", "NotReady"), FREE, Tone.BAD, "stands by"),
        (module("web", "ALONE"), None, FREE, Tone.BAD, "stands by"),
        (module("web", "SECOND"), module("web", "PRIM"), FREE, Tone.GOOD, "goes on alone"),
        (module("web", "STOP", "NotReady"), module("web", "PRIM"), FREE, Tone.STILL, "stopped"),
        (None, module("web", "PRIM"), FREE, Tone.CARE, "does not answer"),
    ],
)
def test_the_death_of_a_node_of_a_mirror(first: Any, second: Any, traits: Traits, tone: Tone, words: str) -> None:
    said = if_it_died("web", "node1", nodes(first, second), traits)
    assert said.tone is tone
    assert words in said.text
    assert said.text % said.words


def test_the_headline_begins_with_what_does_not_run() -> None:
    down = nodes(module("web", "WAIT", "NotReady"), None)
    risky = nodes(module("shop", "ALONE"), None)
    told = headline({"web": down, "shop": risky}, {"web": FREE, "shop": FREE})
    assert [(one.text, one.tone) for one in told] == [("%(module)s serves nobody now.", Tone.BAD)]
    (risk,) = headline({"shop": risky}, {"shop": FREE})
    assert risk.tone is Tone.BAD
    (well,) = headline({"web": nodes(module("web", "PRIM"), module("web", "SECOND"))}, {"web": FREE})
    assert well.tone is Tone.GOOD


@pytest.mark.parametrize("action", consequences.ACTIONS)
@pytest.mark.parametrize("states", [("PRIM", "SECOND"), ("ALONE", "STOP"), ("STOP", "STOP"), ("UP", "UP")])
@pytest.mark.parametrize("force", [True, False])
def test_every_action_says_what_it_means(action: str, states: tuple[str, str], force: bool) -> None:
    found = nodes(module("web", states[0]), module("web", states[1]))
    known = consequences.of(action, "web", ("node1",), found, Traits(has_data=True), force=force)
    assert known.sentences
    assert all(sentence.text % sentence.words for sentence in known.sentences)
    assert known.confirm is ((action == "prim" and force) or action == "forcestop")


def test_stopping_the_last_one_is_told_as_a_loss() -> None:
    alone = nodes(module("web", "ALONE"), None)
    told = consequences.of("stop", "web", ("node1",), alone, FREE, force=False)
    assert told.sentences[-1].tone is Tone.BAD


def test_roles_add_up_and_a_token_takes_the_lesser() -> None:
    grants = {"*": Role.MONITOR, "web": Role.ADMIN}
    assert (role_for(grants, "web"), role_for(grants, "shop"), role_for(grants, None)) == (3, 1, 1)
    assert role_for({}, "web") is Role.NONE
    less = both(grants, {"*": ROLES["control"]})
    assert (role_for(less, "web"), role_for(less, None)) == (2, 1)


def test_a_lock_grows_ends_and_is_for_one_address() -> None:
    now = [0.0]
    lock = LockOut(lambda: now[0])
    for _ in range(5):
        lock.try_once("anna", "10.0.0.1")
    with pytest.raises(Exception, match="try again in 10 s"):
        lock.try_once("anna", "10.0.0.1")
    lock.try_once("anna", "10.0.0.2")
    lock.try_once("bo", "10.0.0.1")
    now[0] = 11.0
    lock.try_once("anna", "10.0.0.1")
    with pytest.raises(Exception, match="try again in 20 s"):
        lock.try_once("anna", "10.0.0.1")


def test_the_right_password_is_no_failure_of_its_address() -> None:
    lock = LockOut(lambda: 0.0)
    for _ in range(100):
        lock.try_once("anna", "10.0.0.1")
        lock.passed("anna", "10.0.0.1")
    for n in range(20):
        lock.try_once(f"user{n}", "10.0.0.1")
    with pytest.raises(Exception, match="try again"):
        lock.try_once("anna", "10.0.0.1")


def test_an_ipv6_host_counts_by_its_network() -> None:
    assert network_of("fd77::1:2:3:4") == network_of("fd77::9:2:3:4")
