"""What a node loads: the witness `lease`."""

from __future__ import annotations

import asyncio
from typing import Self

from pydantic import model_validator

from safekit_sdk import ConfigError, Duration, Lease, ModuleKind, Refusal, Secret, Witness, WitnessConfig
from safekit_witness import tokens, wire
from safekit_witness.member import Member
from safekit_witness.messages import MAX_TTL_S, MIN_TTL_S
from safekit_witness.quorum import Quorum


class LeaseConfig(WitnessConfig):
    token: Secret
    """What `safekit-witness admit` printed: one line, or those of three witnesses; file:/etc/safekit/witness.token"""
    timeout: Duration = Duration(1)
    """A call that takes longer has not reached the witness; less than `lease`."""
    lease: Duration = Duration(10)
    """How long the right to run lasts without being renewed, from 1s to 1h. Another node gets it a quarter later."""

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if not MIN_TTL_S <= self.lease.seconds <= MAX_TTL_S:
            raise ValueError(f"lease: {self.lease} is not from 1s to 1h")
        if not 0.05 <= self.timeout.seconds < self.lease.seconds:
            raise ValueError(f"timeout: {self.timeout} is not from 50ms to less than the lease of {self.lease}")
        return self


class LeaseWitness(Witness[LeaseConfig], api=1):
    """A lease of one safekit-witness on a third machine, or of a majority of three."""

    _quorum: Quorum | None = None
    _members: tuple[Member, ...] = ()

    async def acquire(self, module: str, node: str, epoch: int, after: int | None = None) -> Lease | Refusal:
        return await self._opened().acquire(module, node, epoch, after)

    async def renew(self, module: str, node: str, epoch: int) -> Lease | Refusal:
        return await self._opened().renew(module, node, epoch)

    async def release(self, module: str, node: str, epoch: int) -> None:
        await self._opened().release(module, node, epoch)

    async def probe(self, module: str, node: str) -> str:  # noqa: ARG002 - the SDK's signature
        return await self._opened().probe(module)

    async def close(self) -> None:
        members, self._members, self._quorum = self._members, (), None
        await asyncio.gather(*(one.close() for one in members))

    def _opened(self) -> Quorum:
        """ConfigError when the token is missing or wrong."""
        if self._quorum is None:
            self._members = tuple(map(Member, tokens.read(self.config.token.reveal())))
            self._quorum = Quorum(self._members, self.config.lease.seconds, self.config.timeout.seconds)
        return self._quorum

    @classmethod
    def preflight(cls, config: LeaseConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        try:
            for token in tokens.read(config.token.reveal()):
                wire.pair_of(token.secret_key)
        except ConfigError as error:
            return [f"{error.message}; {error.hint or 'let this node have it: `safekit-witness admit` prints it'}"]
        return []

    @classmethod
    def ident(cls, config: LeaseConfig) -> str:
        return config.name or "lease"
