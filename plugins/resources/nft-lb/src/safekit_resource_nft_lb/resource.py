"""Every server of a farm has the address; the kernel of each accepts its part of the clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, Final

from safekit_resource_nft_lb import delivery, place, ruleset
from safekit_resource_nft_lb.announcing import announce
from safekit_resource_nft_lb.changes import rule_changes
from safekit_resource_nft_lb.config import Address, Mode, NftLbConfig, Service
from safekit_resource_nft_lb.jhash import bucket
from safekit_resource_nft_lb.nft import Nft, NftError
from safekit_resource_nft_lb.reception import Reception
from safekit_resource_nft_lb.site import Site
from safekit_resource_nft_lb.sockets import connections, listens, waits
from safekit_sdk import ConfigError, ModuleKind, Resource, ResourceState, Share, Status, Verdict

ANNOUNCED_S: Final = (0.1, 0.3, 1.0, 3.0)
"""When, after the first, it is announced again who answers for the addresses: a single packet may be lost."""
REFRESH_S: Final = 60.0
SETTLED_S: Final = 0.01
QUIET_S: Final = 0.3
"""When nothing arrived for so long, nobody sends it here any more; longer where heartbeats, and leases with them, are
slow."""
LEAVE_S: Final = 2.0
KEPT_S: Final = 3600.0
"""For so long after a service is shared by another hash, what belongs to a connection of it goes to all servers, and
the one that has the connection takes it: the hash no longer tells which."""
LOOK_S: Final = 5.0
"""The longest time between two looks at the kernel's rules, whatever the kernel tells."""
REMARKS: Final[Mapping[Mode, str]] = {
    "directed": "one node receives what all clients send and passes on what is for the others, so that has to fit "
    "through its network card (replies leave directly); when this node crashes, all clients wait for "
    "`heartbeat.lost_after`. Where the network floods, in `invisible` only the clients of the node that crashed wait",
    "invisible": "every node receives what all clients send and drops what is for the others; each client waits for "
    "the crash of its own node only. The switch has to flood what it is sent for an unknown hardware address, which "
    "many virtual networks do not: `directed` works on any",
    "multicast": "every node receives what all clients send and drops what is for the others; each client waits for "
    "the crash of its own node only. The switch has to flood multicast, and routers have to accept such a hardware "
    "address for a host (some need a fixed entry): `directed` works on any network",
}
"""What each mode means, for `safekit plan`."""
NOTHING: Final = Share(held=frozenset())


class NftLbResource(Resource[NftLbConfig], api=1):
    """Shares the clients of virtual addresses between the servers of a farm, in the kernel of each."""

    restarts: ClassVar[bool] = False
    live_keys: ClassVar[frozenset[str]] = frozenset({"rules"})

    @classmethod
    def ident(cls, config: NftLbConfig) -> str:
        return config.name or str(config.addresses[0])

    @classmethod
    def preflight(cls, config: NftLbConfig, kind: ModuleKind) -> list[str]:
        findings = [] if kind == "farm" else [f"only a farm's clients are shared; this is a {kind}: remove `nft-lb`"]
        try:
            site = Site(ruleset.table_name("preflight", "x"), "", config, place.find(config))
            Nft().check(ruleset.foundation(site))
        except ConfigError as error:
            findings.append(f"{error.message}; {error.hint}" if error.hint else error.message)
        return findings

    @classmethod
    def remarks(cls, config: NftLbConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        return [f"mode {config.mode}: {REMARKS[config.mode]}"]

    def __init__(self, config: NftLbConfig, context: object) -> None:
        super().__init__(config, context)  # type: ignore[arg-type]
        self._table = ruleset.table_name(self.context.module, self.context.name)
        self._share = NOTHING
        self._site: Site | None = None
        self._lease_s = self._lease_ends_s = 0.0
        self._changed: dict[Service, float] = {}
        """Until when (of the monotonic clock) connections by the former hash of a service are kept."""
        self._announcing: asyncio.Task[None] | None = None

    @cached_property
    def _kernel(self) -> Nft:
        """Begun when it is first needed, in the network of whoever calls."""
        return Nft()

    @property
    def _note(self) -> Path:
        """Where packets arrive, for a process that knows nothing of the start."""
        return self.context.run_dir / f"nft-lb-{self.context.name.replace(':', '_')}.json"

    async def start(self) -> None:
        if self.context.kind != "farm":
            raise ConfigError(
                f"only a farm's clients are shared; this is a {self.context.kind}", hint="remove `nft-lb`"
            )
        found = place.find(self.config)
        self._note.write_text(json.dumps({"interface": found.interface}))
        self._site = Site(self._table, self.context.node, self.config, found)
        self._share = NOTHING
        self._kernel.run(ruleset.foundation(self._site))
        self.tell_place(found.mac)

    async def stop(self, force: bool) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
        if self._site is not None and self.config.mode == "directed" and not force:
            await self._leave()
        self._kernel.run(ruleset.removal(self._table))
        self._site = None
        self._share = NOTHING
        self._changed = {}
        self._note.unlink(missing_ok=True)

    async def _leave(self) -> None:
        """The others pass on nothing any more to a server without a place. What they send where no rule drops it, a
        kernel that forwards packets answers with `time exceeded`, which clients take for the server's answer."""
        self.tell_place(delivery.NOWHERE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._until_nothing_arrives(delivery.PASSED)

    async def status(self) -> Status:
        tables = self._present()
        if not tables:
            return Status(ResourceState.STOPPED)
        lacking = sorted(set(ruleset.FAMILIES) - tables)
        if lacking:
            return Status(ResourceState.FAILED, f"the tables of {', '.join(lacking)} are gone")
        return Status(ResourceState.STARTED, f"table {self._table}")

    def _present(self) -> set[str]:
        """The families in which our table is."""
        found = [entry["table"] for entry in self._kernel.listed("tables") if "table" in entry]
        return {table["family"] for table in found if table["name"] == self._table}

    # the share

    async def share(self, share: Share) -> None:
        site = self._started()
        before, self._share = self._share, share
        try:
            self._kernel.run(ruleset.change(site, share, before))
        except NftError:  # someone removed our tables, or a part of them
            self._lay_again(site)
        if share.held and not before.held:
            self._warn_of_silence()
        if share.director != before.director or site.config.mode != "directed":
            self._announce_for_a_while(site)

    async def lease(self, seconds: float) -> None:
        site = self._started()
        self._lease_s, self._lease_ends_s = seconds, time.monotonic() + seconds
        try:
            self._kernel.run(ruleset.lease(site, seconds, self._share))
        except NftError:
            self._lay_again(site)
            self._kernel.run(ruleset.lease(site, seconds, self._share))

    async def reconfigure(self, before: NftLbConfig) -> None:
        """Other rules in one step, with the same share and what is left of the lease: no packet finds none. Connections
        stay where they are, also those of services that are shared by another hash now."""
        site = replace(self._started(), config=self.config)
        now_s = time.monotonic()
        was, now = before.hashes(), self.config.hashes()
        for service in was.keys() | now.keys():
            if was.get(service, "client_address") != now.get(service, "client_address"):
                self._changed[service] = now_s + KEPT_S
        left_s = self._lease_ends_s - now_s
        lease = [ruleset.lease(site, left_s, self._share)] if left_s > 0 else []
        self._kernel.run("\n".join([self._laid(site), *lease]))
        self._site = site

    def _laid(self, site: Site) -> str:
        """All of the rules but the lease."""
        now_s = time.monotonic()
        self._changed = {service: until_s for service, until_s in self._changed.items() if until_s > now_s}
        left_s = {service: until_s - now_s for service, until_s in self._changed.items()}
        return "\n".join([ruleset.foundation(site, left_s), ruleset.change(site, self._share)])

    async def settle(self) -> None:
        ports = {rule.port for rule in self.config.rules}
        while self._share.held or waits(self.config.addresses, ports):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(SETTLED_S)
        if self._counted(delivery.RECEIVED):
            # it was the director, and is sent packets until all clients' neighbour tables have the next one
            while self._share.director == self.context.node and self._others_share():  # noqa: ASYNC110
                await asyncio.sleep(SETTLED_S)
            await self._until_nothing_arrives(delivery.RECEIVED)

    def _others_share(self) -> bool:
        return any(place != delivery.NOWHERE for place in self._share.places.values())

    async def _until_nothing_arrives(self, name: str) -> None:
        """What this counter counts, for longer than a word takes to the others."""
        seen = -1
        while (now := self._counted(name)) != seen:
            seen = now
            await asyncio.sleep(min(max(QUIET_S, self._lease_s / 2), 3 * QUIET_S))

    def _counted(self, name: str) -> int:
        return sum(counter["packets"] for counter in self._counters("netdev") if counter["name"] == name)

    def _counters(self, family: str) -> list[dict[str, Any]]:
        listed = self._kernel.listed(f"counters table {family} {self._table}")
        return [entry["counter"] for entry in listed if "counter" in entry]

    def _lay_again(self, site: Site) -> None:
        self._kernel.run(self._laid(site))
        self.context.log(f"the kernel's rules in table {self._table} were gone and are laid again")

    def _warn_of_silence(self) -> None:
        for rule in self.config.rules:
            if not listens(rule.protocol, rule.port):
                self.context.log(f"clients of {rule.protocol} port {rule.port} are accepted, and nothing listens there")

    def _started(self) -> Site:
        if self._site is None:
            raise ConfigError("it is not started in this process", hint="a defect of safekit: please report it")
        return self._site

    # who answers

    def _announce_for_a_while(self, site: Site) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
            self._announcing = None
        if self._share.director == site.node:
            self._announcing = asyncio.create_task(self._announce(site))

    async def _announce(self, site: Site) -> None:
        mac = site.place.mac if site.config.mode == "directed" else delivery.virtual_mac(site)
        begun_s = asyncio.get_running_loop().time()
        for after_s in (0.0, *ANNOUNCED_S):
            await asyncio.sleep(max(begun_s + after_s - asyncio.get_running_loop().time(), 0.0))
            announce(site, mac)
        while True:
            await asyncio.sleep(REFRESH_S)
            announce(site, mac)

    # what is seen

    async def watch(self) -> AsyncIterator[Verdict]:
        with rule_changes() as changes, self._reception():
            while True:
                yield self._verdict()
                await changes.wait(LOOK_S)

    def _reception(self) -> contextlib.AbstractContextManager[object]:
        """The card receives for the virtual hardware address while this is watched, and so while it is started."""
        if self.config.mode == "directed":
            return contextlib.nullcontext()
        found = place.find(self.config)
        mac = delivery.virtual_mac(Site(self._table, self.context.node, self.config, found))
        return Reception(found.interface, mac)

    def _verdict(self) -> Verdict:
        """Rules that someone removed are laid again at once, before the next lease, by who knows the share."""
        site = self._site
        if self._present() != set(ruleset.FAMILIES):
            if site is None:
                return Verdict.down(f"table {self._table} is gone")
            try:
                self._lay_again(site)
            except NftError as error:
                return Verdict.down(f"the kernel's rules cannot be laid again: {error.message}")
        if site is None:
            return Verdict.up(f"table {self._table}")
        return Verdict.up(f"accepts {len(self._share.held)} of 256 buckets on {site.place.interface}")

    async def inspect(self, question: Mapping[str, str]) -> Mapping[str, str]:
        """`served`, `refused` (packets for others, or without a lease), `connections`, and the bucket of a `client`."""
        facts = {counter["name"]: str(counter["packets"]) for counter in self._counters("inet")}
        facts["mode"] = self.config.mode
        facts["interface"] = self._site.place.interface if self._site else ""
        facts["connections"] = str(connections(self.config.addresses))
        if "client" in question:
            facts |= self._buckets_of(question["client"], question.get("port", ""))
        return facts

    def _buckets_of(self, client: str, port: str) -> dict[str, str]:
        try:
            address: Address = ip_address(client)
        except ValueError:
            return {"error": f"'{client}' is not an address"}
        facts: dict[str, str] = {f"rule {rule.protocol} port {rule.port}": rule.hash for rule in self.config.rules}
        facts["bucket"] = str(bucket(address, self.config.seed))
        if port.isdigit() and int(port) < 1 << 16:
            facts["bucket of the session"] = str(bucket(address, self.config.seed, int(port)))
        return facts
