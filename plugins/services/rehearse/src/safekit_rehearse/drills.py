"""The drills: what each does, what is promised for it, and which clusters it is not for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from safekit_rehearse.cluster import Promises
from safekit_rehearse.harm import Kind

SPARE_S: Final = 5.0
ALWAYS_REFUSED: Final = frozenset(
    (
        *("no-standby", "not-up-to-date", "one-node", "failover-off", "restarts-used-up", "gave-up", "one-server"),
        *("drained", "resource-down", "configuration-differs", "cluster-file-differs", "plugins-differ"),
        *("versions-differ", "disk-nearly-full", "network-silent", "machine-lacks", "edits-not-applied"),
        "lost-and-back",
    )
)
"""Findings of the doctor with which a further failure would hurt; and every alarm."""
Promise = Callable[[Promises], float | None]


@dataclass(frozen=True, slots=True)
class Drill:
    name: str
    kind: Kind
    says: str
    promise: Promise
    """The longest interruption in seconds; None: nothing is promised."""
    kinds: frozenset[str] = frozenset(("mirror", "farm"))
    takes_over: bool = False
    """Another node has to take over, or the service is away for the time of the drill."""
    elsewhere: bool = False
    """Not on the node from which it is watched."""
    parts: bool = False
    """The nodes do not hear each other while both run."""
    asks: bool = False
    """A person does it, and undoes it."""
    cuts: bool = False
    """The fence device cuts its power; a person gives it back."""
    strains: bool = False
    """It may make a node silent."""
    default_s: float = 2.0


def _swap(given: Promises) -> float:
    return given.stop_s + given.start_s


def _fault(given: Promises) -> float:
    return given.fault_s if given.fault_s is not None else given.stop_s + given.start_s


def _take_over(given: Promises) -> float | None:
    return given.take_over_s


def _nothing_happens(given: Promises) -> float:
    del given
    return 0.0


def _no_promise(given: Promises) -> None:
    del given


DRILLS: Final[Mapping[str, Drill]] = {
    drill.name: drill
    for drill in (
        Drill("swap", "none", "the nodes exchange their roles", _swap, kinds=frozenset(("mirror",))),
        Drill("kill-app", "kill-app", "the application is killed where it serves", _fault),
        Drill(
            *("kill-daemon", "kill-daemon", "safekitd is killed on the node that serves", _take_over),
            takes_over=True,
            elsewhere=True,
        ),
        Drill(
            *("freeze", "freeze", "safekitd stands still where it serves; a watchdog resets the node", _take_over),
            takes_over=True,
            elsewhere=True,
            parts=True,
        ),
        Drill(
            *("partition", "partition", "the node that serves and the others are cut off from each other"),
            _nothing_happens,
            elsewhere=True,
            parts=True,
            kinds=frozenset(("mirror",)),
        ),
        Drill(
            *("isolate", "isolate", "the node that serves is cut off from everybody", _take_over),
            takes_over=True,
            elsewhere=True,
            parts=True,
        ),
        Drill(
            *("power-off", "none", "you cut the power of the node that serves, and give it back", _take_over),
            takes_over=True,
            elsewhere=True,
            asks=True,
        ),
        Drill(
            "disk-full", "disk-full", "a file system of the node that serves has no room", _no_promise, default_s=10.0
        ),
        Drill(
            *("slow-disk", "slow-disk", "a file system of the node that serves writes with long pauses", _no_promise),
            default_s=10.0,
            strains=True,
        ),
        Drill(
            *("fence", "freeze", "safekitd stands still where it serves, until its power is cut", _take_over),
            takes_over=True,
            elsewhere=True,
            parts=True,
            cuts=True,
            kinds=frozenset(("mirror",)),
        ),
    )
}
USUAL: Final = ("swap", "kill-app")


def refusals(drill: Drill, module: Mapping[str, Any], promises: Promises) -> list[str]:
    """Why this module must not be drilled so; a sentence each."""
    found = []
    if module["kind"] not in drill.kinds:
        found.append(f"it is for a {' or '.join(sorted(drill.kinds))}, and '{module['name']}' is a {module['kind']}")
    if drill.takes_over and promises.take_over_s is None:
        found.append("nothing would take over by itself: the service would be away until the drill ends")
    if drill.cuts and not promises.fences:
        found.append("it has no step 'fence': nothing would cut the power")
    silent = drill.parts or drill.takes_over or drill.strains
    if silent and promises.fences and not (drill.asks or drill.cuts):
        found.append("a step fences a silent node: its power would be cut, and nothing here could give it back")
    if drill.parts and not promises.excluded:
        found.append("isolation is 'availability' and no witness rules it out: both nodes would run the module")
    return found


def length_s(drill: Drill, promises: Promises, asked_s: float | None) -> float:
    """Of the harm: long enough that what is promised happens within it."""
    if asked_s is not None:
        return asked_s
    promised_s = (drill.promise(promises) or 0.0) if drill.takes_over else 0.0
    least_s = 3 * promises.lost_s if drill.parts else 0.0
    return max(drill.default_s, promised_s + SPARE_S if promised_s else 0.0, least_s)
