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
    ttl_s: float


class Witness(Plugin[W]):
    """Calls are bounded by `timeout`. None means refused; an exception means that the witness was not reached."""

    exclusive: bool = True
    """Whether two holders at a time are impossible. False for a ping target, which only sees isolation."""

    async def acquire(self, module: str, node: str) -> Lease | None:
        raise NotImplementedError

    async def renew(self, module: str, node: str, epoch: int) -> Lease | None:
        raise NotImplementedError

    async def release(self, module: str, node: str, epoch: int) -> None:
        raise NotImplementedError
