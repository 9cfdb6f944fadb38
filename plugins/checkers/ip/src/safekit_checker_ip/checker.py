"""Down the instant that an address is no longer on this machine, and when another machine has it too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final

from safekit_checker_ip import machine
from safekit_checker_ip.config import IpConfig
from safekit_checker_ip.machine import Holding, Link, Machine
from safekit_sdk import Checker, Context, ModuleKind, Verdict
from safekit_sdk.netlink import Changes
from safekit_sdk.wire import Wire, may_ask

HEED_S: Final = 1.0
"""The shortest time between two looks that another machine's claims cause: a flood of these is none of looks."""

CANCEL_S: Final = 0.02


class IpChecker(Checker[IpConfig], api=1):
    """Down the instant that an address is no longer on this machine, and when another machine has it too."""

    facts: ClassVar[Mapping[str, str]] = {
        "address": "which one",
        "interface": "where it is",
        "other": "the hardware address of another machine that says it has it",
    }

    def __init__(self, config: IpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._wire: Wire | None = None
        self._wire_of: Link | None = None
        self._seen: Machine | None = None
        self._logged: bytes | None = None
        self._heeded_s = -HEED_S

    async def watch(self) -> AsyncIterator[Verdict]:
        """A verdict each `interval`, and at once when the address goes or comes, or another machine claims it."""
        try:
            with machine.changes() as changes:
                seen: Machine | None = None
                while True:
                    yield await self._look(seen)
                    seen = await self._rest(changes)
        finally:
            self._hang_up()

    async def close(self) -> None:
        self._hang_up()

    def _hang_up(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    async def _look(self, seen: Machine | None) -> Verdict:
        """`seen` is the machine, when it was just looked at."""
        address = self.config.address
        try:
            async with asyncio.timeout(self.config.patience_s):
                self._seen = seen or await machine.look(address)
                return await self._judge(self._seen)
        except TimeoutError:
            return Verdict.unknown(f"{address}: no answer from the kernel in {self.config.patience_s:g} s")
        except OSError as error:
            self._hang_up()
            return Verdict.unknown(f"{address} could not be looked at: {error.strerror or error}")

    async def _judge(self, seen: Machine) -> Verdict:
        address, wanted = self.config.address, self.config.interface
        held = [one for one in seen.holdings if wanted in (None, one.link.name)]
        if not held:
            elsewhere = ", ".join(one.link.name for one in seen.holdings)
            where = f"{wanted}, but on {elsewhere}" if elsewhere else wanted or "this machine"
            return Verdict.down(f"{address} is not on {where}", address=str(address))
        holding = next((one for one in held if one.link.up), held[0])
        name = holding.link.name
        if not holding.link.up:
            return Verdict.down(f"{address} is on {name}, which is switched off", address=str(address), interface=name)
        if holding.duplicate:
            reason = f"{address} is on {name}, but not used: the kernel found another machine that has it"
            return Verdict.down(reason, address=str(address), interface=name)
        if holding.tentative:
            return Verdict.init(f"{address} is on {name}; the kernel still asks whether another machine has it")
        return await self._judge_others(holding, seen)

    async def _judge_others(self, holding: Holding, seen: Machine) -> Verdict:
        address, name = str(self.config.address), holding.link.name
        mac = await self._other(holding, seen)
        if mac is None:
            self._logged = None
            return Verdict.up(f"{address} is on {name}", address=address, interface=name)
        other = mac.hex(":") or "of unknown hardware address"
        reason = f"another machine ({other}) has {address} too"
        if self.config.duplicate == "down":
            return Verdict.down(reason, address=address, interface=name, other=other)
        if self._logged != mac:
            self._logged = mac
            self.context.log(reason)
        return Verdict.up(f"{address} is on {name}; {reason}", address=address, interface=name, other=other)

    async def _other(self, holding: Holding, seen: Machine) -> bytes | None:
        """The hardware address of another machine that answers for the address, twice: a single packet may be late, of
        a node that has just given the address up, or a lie that nobody stands by."""
        if self.config.duplicate == "ignore" or self.context.kind == "farm" or not holding.link.can_ask:
            self._hang_up()
            return None
        if self._wire is None or self._wire_of != holding.link:
            self._hang_up()
            self._wire = Wire(holding.link.name, holding.link.mac, self.config.address)
            self._wire_of = holding.link
        mac = None
        for _ in range(2):
            self._wire.forget()
            self._wire.ask()
            mac = await self._wire.claim(self.config.probe_wait.seconds, seen.macs)
            if mac is None:
                break
        return mac

    async def _rest(self, changes: Changes) -> Machine | None:
        """Until the next look is due, or there is something new to see; the machine, when it has changed."""
        due_s = asyncio.get_running_loop().time() + self.config.interval.seconds
        changed = asyncio.create_task(self._changed(changes, due_s))
        ears: set[asyncio.Task[Any]] = {changed}
        if self._wire is not None and self._seen is not None:
            ears.add(asyncio.create_task(self._claimed(self._wire, self._seen, due_s)))
        try:
            await asyncio.wait(ears, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(ears)
        if changed.cancelled() or changed.exception():  # what failed fails again in the look that follows
            return None
        return changed.result()

    async def _changed(self, changes: Changes, due_s: float) -> Machine | None:
        """As soon as the interfaces that have the address are others, or in another state, than at the last look."""
        loop = asyncio.get_running_loop()
        while (left_s := due_s - loop.time()) > 0:
            if await changes.wait(left_s):
                now = await machine.look(self.config.address)
                if self._seen is None or now.holdings != self._seen.holdings:
                    return now
        return None

    async def _claimed(self, wire: Wire, seen: Machine, due_s: float) -> None:
        """Return when another machine claims the address."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._heeded_s + HEED_S - loop.time())
        if await wire.claim(max(due_s - loop.time(), 0.0), seen.macs) is not None:
            self._heeded_s = loop.time()

    @classmethod
    def ident(cls, config: IpConfig) -> str:
        text = str(config.address)
        return config.name or (f"_{text}" if text.startswith(":") else text)

    @classmethod
    def preflight(cls, config: IpConfig, kind: ModuleKind) -> list[str]:
        if config.duplicate == "ignore" or kind == "farm" or may_ask():
            return []
        return [f"ip {config.address}: no right to ask who has it; run as root, or set `duplicate: ignore`"]

    @classmethod
    def remarks(cls, config: IpConfig, kind: ModuleKind) -> list[str]:
        if config.duplicate != "down" or config.action == "none" or kind == "farm":
            return []
        return [
            f"ip {config.address}: a machine on the wire that answers for it makes it down, on either node, so that "
            "the module may stop on both; `duplicate: log` tells of it and changes nothing"
        ]


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """A cancellation can be lost, by asyncio's own wait_for; so it is said again."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=CANCEL_S)
