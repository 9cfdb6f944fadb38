"""A witness is a third party that says which node may run a module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from safekit_sdk.config import WitnessConfig
from safekit_sdk.plugin import Plugin

W = TypeVar("W", bound=WitnessConfig)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a module for `ttl_s` seconds, counted by the holder from BEFORE it asked."""

    epoch: int
    """Greater than that of every lease of this module that the witness gave before; a renewal keeps it."""
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """The witness was reached and says no."""

    reason: str
    """For people: who has the lease, or why a renewal came too late. The same words as long as nothing else is the
    case: a time that is left belongs into `wait_s`."""
    wait_s: float = 0.0
    """In how many seconds asking again may succeed, as far as the witness knows."""


class Witness(Plugin[W]):
    """Every call is bounded by the caller with `timeout`, and may be cancelled at any point. An exception means that
    the witness was not reached, and leaves open whether the call had its effect: a lease may have been given.

    `module` is unique among all clusters that share the witness, at most 128 characters."""

    exclusive: bool = True
    """Whether two holders at a time are impossible. False for a ping target, which only sees isolation."""

    async def acquire(self, module: str, node: str, epoch: int, after: int | None = None) -> Lease | Refusal:
        """A new lease for the node, of at least this epoch. Refused while another node has one that has not run out;
        who has it itself gets another one, and the former is over.

        `after`: the greatest epoch that the node knows of. Refused, too, when another node was ever given a lease of a
        greater one, whether it has run out or was given back: who asks may lack what that node wrote. None: whatever
        was. The look and the grant are one step. What is remembered are the leases that were given, with `after` or
        without, also those of which the node never heard; a refusal changes nothing. A witness that is not `exclusive`
        remembers nothing and ignores it."""
        raise NotImplementedError

    async def renew(self, module: str, node: str, epoch: int) -> Lease | Refusal:
        """The lease of this epoch for another `lease` from now on. Refused when it is not the last one that was given,
        or was released; one that ran out and went to nobody else since may be renewed."""
        raise NotImplementedError

    async def release(self, module: str, node: str, epoch: int) -> None:
        """Give the lease of this epoch back; nothing when the node has it no more."""
        raise NotImplementedError

    async def probe(self, module: str, node: str) -> str:
        """What the witness says of the module now, in a few words for people; takes and changes nothing."""
        raise NotImplementedError

    async def close(self) -> None:
        """Called once at the end."""
