"""Down the instant that a network interface goes, is switched off, or loses its link."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, ClassVar, Final

from pydantic import Field

from safekit_checker_intf import interface
from safekit_checker_intf.interface import State
from safekit_sdk import Checker, CheckerConfig, Duration, FailureAction, Health, ModuleKind, Scope, Verdict
from safekit_sdk.netlink import Changes

_LINKS: Final = 0x1
"""RTMGRP_LINK."""
_ADVICE = {
    State.OFF: " (ip link set {name} up)",
    State.UNLINKED: ": its cable, the switch's port, or what it is made of",
}


class IntfConfig(CheckerConfig):
    interface: Annotated[str, Field(pattern=r"^[!-.0-9;-~]{1,15}$")]
    """Its name: `eth0`, `bond0`, `br0.100`."""
    link: bool = True
    """Whether it is down without a link. `false`: it only has to be there and switched on."""
    interval: Duration = Duration(10)
    """Time between two looks when the kernel tells of no change."""
    when: Scope | None = "pre"
    """From before the module starts, so that a node without its network does not become primary."""
    action: FailureAction = "wait"
    """What the generated rule does when the verdict is down."""


class IntfChecker(Checker[IntfConfig], api=1):
    """Down the instant that a network interface goes, is switched off, or loses its link."""

    facts: ClassVar[Mapping[str, str]] = {
        "interface": "which one",
        "state": "what the kernel says of it",
    }

    async def watch(self) -> AsyncIterator[Verdict]:
        """A verdict each `interval`, and at once when the health is another one."""
        with Changes(socket.NETLINK_ROUTE, _LINKS) as changes:
            while True:
                verdict = self._look()
                yield verdict
                await self._rest(changes, verdict.health)

    async def _rest(self, changes: Changes, health: Health) -> None:
        """A change that leaves the health as it is was none: `fall` counts looks, not what the kernel tells."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + self.config.interval.seconds
        while (left_s := due_s - loop.time()) > 0:
            if await changes.wait(left_s) and self._look().health is not health:
                return

    def _look(self) -> Verdict:
        name = self.config.interface
        try:
            state = interface.state(name)
        except OSError as error:
            return Verdict.unknown(f"{name} could not be looked at: {error.strerror}")
        if state is State.LINKED or (state is State.UNLINKED and not self.config.link):
            return Verdict.up(f"{name}: {state}", interface=name, state=state.name.lower())
        advice = _ADVICE.get(state, "").format(name=name)
        return Verdict.down(f"{name}: {state}{advice}", interface=name, state=state.name.lower())

    @classmethod
    def ident(cls, config: IntfConfig) -> str:
        """The interface, with `_` for what an identifier cannot hold."""
        text = "".join(c if c.isalnum() or c in "_.:-" else "_" for c in config.interface)
        return config.name or (text if text[0].isalnum() or text[0] == "_" else f"_{text}")

    @classmethod
    def preflight(cls, config: IntfConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        there = interface.names()
        if config.interface in there:
            return []
        return [f"there is no interface {config.interface}; there are: {', '.join(sorted(there))[:200]}"]
