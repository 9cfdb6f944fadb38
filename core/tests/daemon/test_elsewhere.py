"""Where a module is, as the node knows from the heartbeats that it heard: nobody is asked."""

from __future__ import annotations

from safekit import engine
from safekit.daemon.elsewhere import module_states
from safekit.engine.events import Configured, Event, HeartbeatHeard, Started, TimePassed
from safekit.engine.reports import Heartbeat, ModuleReport, ModuleState, Readiness
from safekit.engine.spec import Kind, MembershipSpec, ModuleSpec
from safekit_sdk.elsewhere import ModuleSeen

MEMBERSHIP = MembershipSpec("n1", ("n2", "n3"), ("net",), 0.1, 1.0)
MODULE = ModuleSpec("db", Kind.MIRROR, ("n1", "n2"))
PRIMARY = ModuleReport(ModuleState.PRIM, Readiness.READY, epoch=7, active=True, was_primary=True, reason="x" * 9000)


def seen(at_s: float) -> dict[str, ModuleSeen]:
    """By n1, after n2 told at 100 s that it is primary and n3 that it knows no such module."""
    node = engine.new_node("n1")
    heard = (Heartbeat("n2", 1, 1, (("db", PRIMARY),)), Heartbeat("n3", 1, 1))
    begun: tuple[Event, ...] = (Configured(MEMBERSHIP, (MODULE,)), Started(1, boot=False))
    for event in (*begun, *(HeartbeatHeard("net", one) for one in heard)):
        node, _ = engine.step(node, event, 100.0)
    for tenths in range(1001, round(at_s * 10) + 1):
        node, _ = engine.step(node, TimePassed(), tenths / 10)
    answer = module_states(node, "db", at_s)
    return {name: ModuleSeen.model_validate(said) for name, said in answer.items()}


def test_each_node_has_it_in_the_state_that_its_last_heartbeat_told() -> None:
    found = seen(at_s=100.1)
    assert list(found) == ["n1", "n2", "n3"]
    assert (str(found["n2"]), found["n2"].epoch, len(found["n2"].reason)) == ("PRIM/Ready", 7, 4096)
    assert found["n1"].state in ("STOP", "WAIT")
    assert (found["n3"].heard, found["n3"].state) == (True, "")


def test_of_a_node_that_is_silent_nothing_is_known() -> None:
    found = seen(at_s=110.0)
    assert (found["n2"].heard, found["n2"].state) == (False, "")
    assert found["n1"].heard
