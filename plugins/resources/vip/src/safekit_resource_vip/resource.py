"""A virtual IP address: put on an interface of whoever runs the service, announced, defended and watched."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final

from safekit_resource_vip import links
from safekit_resource_vip.config import VipConfig
from safekit_resource_vip.links import Link
from safekit_sdk import ConfigError, ModuleKind, Resource, ResourceState, Status, Verdict
from safekit_sdk.wire import Wire

ANNOUNCED_S: Final = (0.1, 0.3, 1.0, 3.0)
"""When, after the first, an address that was taken is announced again: a single packet may be lost."""
AGAIN_S: Final = 0.25
"""Time between two looks at an address that another machine has."""
LOOK_S: Final = 5.0
"""The longest time between two looks at the interface, whatever the kernel tells."""
DEFEND_S: Final = 1.0
"""The shortest time between two announcements against another machine (RFC 5227: rate-limited)."""


class VipResource(Resource[VipConfig], api=1):
    """A virtual IP address, where the service runs: clients find it there whichever node that is."""

    restarts: ClassVar[bool] = False
    live_keys: ClassVar[frozenset[str]] = frozenset(
        {"probe_count", "probe_wait", "on_conflict", "conflict_wait", "refresh", "check"}
    )

    @classmethod
    def ident(cls, config: VipConfig) -> str:
        return config.name or str(config.address.ip)

    @classmethod
    def preflight(cls, config: VipConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        with ThreadPoolExecutor(1) as thread:  # the caller may have a loop that runs
            search = thread.submit(lambda: asyncio.run(_place(config)))
        try:
            search.result()
        except ConfigError as error:
            return [f"{error.message}; {error.hint}"]
        return []

    @property
    def _note(self) -> Path:
        """Says that the address was put there by us, from before that until after it is gone."""
        return self.context.run_dir / f"vip-{self.context.name}-{self.context.scope}.json"

    @property
    def _shared(self) -> bool:
        """Every node of a farm has the address: nobody is asked, and who answers for it is decided elsewhere."""
        return self.context.kind == "farm"

    async def start(self) -> None:
        link = await _place(self.config)
        address = self.config.address
        holder = await self._holder()
        if holder is not None and not self._note.exists():
            raise ConfigError(
                f"{address.ip} is on {holder.name} already, and was not put there by safekit",
                hint="take it out of the machine's own network configuration: a virtual address must move",
            )
        if holder is not None and holder.index != link.index:
            await links.remove(holder, address)
        with Wire(link.name, link.mac, address.ip) as wire:
            if not link.has(address.ip):
                if not self._shared:
                    await self._until_free(wire)
                self._note.write_text(json.dumps({"address": str(address), "interface": link.name}))
                await links.add(link, address)
            if not self._shared:
                self._announce(wire)

    def _announce(self, wire: Wire) -> None:
        """Without a link nobody hears it; it is announced again when the link is back."""
        with contextlib.suppress(OSError):
            wire.announce()

    async def _until_free(self, wire: Wire) -> None:
        """Return when no other machine answers for the address; ConfigError when one still does after the wait."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.config.conflict_wait.seconds
        said = False
        while (mac := await self._other(wire)) is not None:
            who = f"another machine ({mac.hex(':') or 'of unknown hardware address'}) has {self.config.address.ip}"
            if self.config.on_conflict == "take":
                self.context.log(f"{who}; it is taken all the same, as `on_conflict: take` says")
                return
            if loop.time() >= deadline_s:
                raise ConfigError(
                    f"{who}, still after {self.config.conflict_wait}",
                    hint="find it by its hardware address and give it another address, or set `on_conflict: take`",
                )
            if not said:
                self.context.log(f"{who}; waiting up to {self.config.conflict_wait} for it to give it up")
                said = True
            await asyncio.sleep(AGAIN_S)

    async def _other(self, wire: Wire) -> bytes | None:
        for _ in range(self.config.probe_count):
            with contextlib.suppress(OSError):  # no link: nobody can be asked
                wire.ask()
            mac = await wire.claim(self.config.probe_wait.seconds)
            if mac is not None:
                return mac
        return None

    async def stop(self, force: bool) -> None:  # noqa: ARG002 - by force it is no other
        holder = await self._holder()
        if holder is not None and self._note.exists():
            await links.remove(holder, self.config.address)
        self._note.unlink(missing_ok=True)

    async def status(self) -> Status:
        holder = await self._holder()
        if holder is None:
            return Status(ResourceState.STOPPED)
        if not self._note.exists():
            return Status(ResourceState.STOPPED, f"it is on {holder.name}, and was not put there by safekit")
        if not holder.carrier:
            return Status(ResourceState.FAILED, f"{holder.name} has no link")
        return Status(ResourceState.STARTED, f"on {holder.name}")

    async def _holder(self) -> Link | None:
        """The interface that has the address."""
        return next((link for link in await links.links() if link.has(self.config.address.ip)), None)

    async def watch(self) -> AsyncIterator[Verdict]:
        link = await _place(self.config)
        with links.changes() as changes, Wire(link.name, link.mac, self.config.address.ip) as wire:
            chores = asyncio.create_task(self._keep_known(wire))
            try:
                while True:
                    yield await self._verdict()
                    await changes.wait(LOOK_S)
            finally:
                chores.cancel()
                await asyncio.gather(chores, return_exceptions=True)

    async def _verdict(self) -> Verdict:
        address = self.config.address
        holder = await self._holder()
        if not self.config.check:
            return Verdict.up("not checked")
        if holder is None:
            return Verdict.down(f"{address.ip} is no longer on this machine: it was removed by someone else")
        if not holder.carrier:
            return Verdict.down(f"{holder.name}, which has {address.ip}, is down or has no link")
        return Verdict.up(f"{address.ip} is on {holder.name}")

    async def _keep_known(self, wire: Wire) -> None:
        """Announce the address again and again, and at once against another machine that claims it."""
        if self._shared:
            return
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        due = [begun_s + after_s for after_s in ANNOUNCED_S]
        refresh_s = self.config.refresh.seconds
        while True:
            next_s = due[0] if due else loop.time() + (refresh_s or LOOK_S)
            mac = await wire.claim(max(next_s - loop.time(), 0.0))
            if mac is not None:
                self.context.log(f"{mac.hex(':') or 'another machine'} claims {self.config.address.ip} too; defended")
                self._announce(wire)
                await asyncio.sleep(DEFEND_S)
            elif due or refresh_s:
                due = due[1:]
                self._announce(wire)


async def _place(config: VipConfig) -> Link:
    """The interface for the address; ConfigError that names those there are."""
    found = [link for link in await links.links() if not link.loopback]
    names = ", ".join(link.name for link in found) or "none"
    address = config.address
    if config.interface is not None:
        named = next((link for link in found if link.name == config.interface), None)
        if named is None:
            raise ConfigError(f"there is no interface {config.interface} for {address}", hint=f"there are: {names}")
        return named
    fitting = [link for link in found if link.covers(address.ip)] or [link for link in found if link.has(address.ip)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        several = ", ".join(link.name for link in fitting)
        raise ConfigError(
            f"{address} fits to several interfaces: {several}", hint="say which with `interface:` in the module file"
        )
    networks = ", ".join(f"{link.name} {own}" for link in found for own in link.addresses) or "none with an address"
    raise ConfigError(
        f"no interface has an address in the network of {address}",
        hint=f"correct the address, or say `interface:`; there are: {networks}",
    )
