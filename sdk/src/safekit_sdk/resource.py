"""A resource is a thing that is started and stopped: an address, a file system, a service, a machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeVar

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


class Resource(Plugin[R]):
    """Start and stop are idempotent, and either may be called in a new process that knows nothing of an
    earlier start: what runs is found on the machine, not in memory."""

    restarts: ClassVar[bool] = True
    """Whether the action `restart` stops and starts it. False for what clients need while the application
    restarts, such as an address."""
    replicates: ClassVar[bool] = False
    """Whether it replicates data and says so in the value `rfs.uptodate`: only a node where that is up may then
    become primary."""
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

    async def promote(self) -> None:
        """For a resource on in both roles: the node becomes primary. Before the primary's resources start."""

    async def demote(self, force: bool) -> None:
        """The node is no longer primary. After the primary's resources stopped."""

    async def transition(self, change: Transition) -> None:
        """The module's state changes; for scripts that want to know. Its failure changes nothing."""

    def watch(self) -> AsyncIterator[Verdict]:
        """Yield a verdict whenever the started resource may have changed by itself. Optional."""
        raise NotImplementedError

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
    def promotes(cls) -> bool:
        return cls.promote is not Resource.promote
