"""A resource is a thing that is started and stopped: an address, a file system, a service, a machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final, TypeVar

from safekit_sdk.config import ResourceConfig
from safekit_sdk.plugin import ModuleKind, Plugin
from safekit_sdk.units import Scope
from safekit_sdk.verdict import Verdict

R = TypeVar("R", bound=ResourceConfig)


class ResourceState(StrEnum):
    STOPPED = "stopped"
    STARTED = "started"
    FAILED = "failed"
    """Neither: half started, or broken. A stop must still work."""


@dataclass(frozen=True, slots=True)
class Status:
    state: ResourceState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of the module's state, in SafeKit's words (`WAIT`, `ALONE`, `PRIM`, `SECOND`, `UP`, `STOP`)."""

    before: str
    after: str
    action: str
    """Why it happens, one word: start, stop, takeover, swap, restart, joined, left."""
    epoch: int = 0


BUCKETS: Final = 256
"""A farm's clients belong to as many buckets, by a hash of their address."""
PLACE: Final = "place"
_ALWAYS_LIVE: Final = frozenset({"action", "start_timeout", "stop_timeout", "force_stop_timeout"})


@dataclass(frozen=True, slots=True)
class Share:
    """What this node is to serve of a farm's clients."""

    held: frozenset[int]
    """The buckets that it serves."""
    moving: frozenset[int] = frozenset()
    """The buckets that another node served before and may still have connections of: these stay where they are."""
    owners: tuple[str, ...] = ("",) * BUCKETS
    """The node that each bucket belongs to by the map, empty for none. Another node may not have acquired it yet."""
    priors: tuple[tuple[str, ...], ...] = ((),) * BUCKETS
    """For each bucket the nodes, at most three, that may still have connections of it."""
    director: str = ""
    """The node that receives for all of them where only one can."""
    places: Mapping[str, str] = field(default_factory=dict)
    """What this resource on each other node that is heard has said with `tell_place`."""
    epoch: int = 0
    """Of the map; it only grows."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other node of a mirror."""

    node: str
    addresses: Mapping[str, str] = field(default_factory=dict)
    """By the cluster's networks, in their order."""
    place: str = ""
    """What the same resource has said there with `tell_place`; it came authenticated. Empty while nothing is heard."""


class Resource(Plugin[R]):
    """Start and stop are idempotent, and either may be called in a new process that knows nothing of an
    earlier start: what runs is found on the machine, not in memory."""

    restarts: ClassVar[bool] = True
    """Whether the action `restart` stops and starts it. False for what clients need while the application
    restarts, such as an address."""
    live_keys: ClassVar[frozenset[str]] = frozenset()
    """The own settings that may change while it is started; `reconfigure` then makes it so. For any other it is stopped
    and started again. `action` and the three timeouts that every resource has are always among them."""
    replicates: ClassVar[bool] = False
    """Whether it replicates data and says so in the value `rfs.uptodate`. It is started before it is known what the
    node is to be, so that both nodes can tell whose data are the last ones: only a node where that is up may then
    become primary. The value `rfs.epoch`, set before it, is the epoch of the primary whose writes it has; one that went
    on alone under a later one has others."""
    bears: ClassVar[bool] = False
    """Whether what comes after it in the pipeline stands on it, as programs on a file system: when it has to be stopped
    for a change of its settings, or is taken out, the whole module is stopped and started."""
    change: Transition = Transition("", "", "")
    """The change of state that the present call belongs to. Set by the host before it calls."""

    async def start(self) -> None:
        """Started when it returns, or an exception that says why not. `stop` follows a failed start."""
        raise NotImplementedError

    async def stop(self, force: bool) -> None:
        """Stopped when it returns. With `force` it must end whatever it takes; it is tried after a graceful
        stop failed or took longer than `stop_timeout`, and at the start of a node after a crash."""
        raise NotImplementedError

    async def status(self) -> Status:
        """A look at the machine; changes nothing."""
        raise NotImplementedError

    async def reconfigure(self, before: R) -> None:
        """Some of `live_keys` have other values in `self.config` than in `before`. Called while it is started, with
        nothing else stopped for it; its `watch` is begun again after it. An exception when it cannot be done so: it is
        then stopped and started. To be overridden where the setting is not just looked at when it is needed."""

    async def promote(self) -> None:
        """For a resource on in both roles: the node becomes primary. Before the primary's resources start."""

    async def demote(self, force: bool) -> None:
        """The node is no longer primary. After the primary's resources stopped."""

    async def pair(self) -> None:
        """Mirror, on the primary that has run alone: the other node is secondary now. Once what replicates has told the
        secondary everything, no write may be acknowledged that the secondary lacks, until `stand_alone`."""

    async def stand_alone(self) -> None:
        """Mirror, on the primary: from now on, in the epoch `change.epoch`, writes may be acknowledged that the other
        node lacks. It has been made sure that the other node does not take over with what it has. Also after a start in
        the state ALONE, where `promote` says it."""

    async def meet(self, peer: Peer) -> None:
        """Mirror: where the other node is to be found. Called after the start, in both roles, and when it changed."""

    async def transition(self, change: Transition) -> None:
        """The module's state changes; for scripts that want to know. Its failure changes nothing."""

    def watch(self) -> AsyncIterator[Verdict]:
        """Yield a verdict whenever the started resource may have changed by itself. Optional."""
        raise NotImplementedError

    async def share(self, share: Share) -> None:
        """Farm: serve these buckets from now on and no others, in one step. Called while started, in any state of
        the module; until the first call after a start nothing is served. An exception when it may not be so: the
        resource is then stopped by force."""

    async def lease(self, seconds: float) -> None:
        """Farm: go on serving for so long from now; then, without another call, stop by yourself, without help of
        this process. Called every heartbeat; a frozen node's buckets go to the others a little after that time."""

    async def settle(self) -> None:
        """Farm: called before anything of the module is stopped in good order. Return when no bucket is served any more
        and the application has taken over every connection that the kernel has answered; given up after 2 s."""

    async def inspect(self, question: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002 - a hook for subclasses
        """Facts about the running resource for people, as `connections`; may answer to what is asked, as `client`.
        Changes nothing."""
        return {}

    def tell_place(self, text: str) -> None:
        """Tell the same resource on the other nodes where this one is (a hardware address, a port; at most 100
        characters): it reaches them in `Share.places` of a farm, and in `Peer.place` of a mirror."""
        self.context.set_value(f"{PLACE}.{self.context.name}", text)

    async def fence(self, node: str) -> None:
        """Mirror: cut another node off from power, or from what it could harm, and return only when it is certain that
        it runs nothing any more. Called on the instance of a module that has lost its primary, before it takes over,
        started or not; bounded by `start_timeout`. An exception when the node may still run: nothing is taken over."""

    @classmethod
    def live_settings(cls) -> frozenset[str]:
        return cls.live_keys | _ALWAYS_LIVE

    @classmethod
    def fences(cls) -> bool:
        return cls.fence is not Resource.fence

    @classmethod
    def shares(cls) -> bool:
        return cls.share is not Resource.share

    @classmethod
    def scopes(cls, config: R, kind: ModuleKind) -> tuple[Scope, ...]:
        """The states in which instances are wanted, one instance each. One, unless overridden."""
        default: Scope = "prim" if kind == "mirror" else "both"
        chosen = config.when or default
        return (chosen if kind == "mirror" or chosen == "pre" else "both",)

    @classmethod
    def watches(cls) -> bool:
        return cls.watch is not Resource.watch

    @classmethod
    def meets(cls) -> bool:
        return cls.meet is not Resource.meet

    @classmethod
    def pairs(cls) -> bool:
        return cls.pair is not Resource.pair or cls.stand_alone is not Resource.stand_alone

    @classmethod
    def promotes(cls) -> bool:
        return cls.promote is not Resource.promote
