"""The operations behind `safekit snapshot`: this node's part of one, and the whole, put together of every node's."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from safekit import __version__, engine
from safekit.daemon.child import ask_child
from safekit.daemon.examination import Examination, FactsArgs
from safekit.daemon.operations import Args, Operations, Power
from safekit.snapshot import Gathered, compose
from safekit.snapshot.archive import Manifest, NodeNote, check_part
from safekit.snapshot.layout import ARCHIVE_BYTES, PART_S
from safekit_sdk import PeerError, RefusedError, SafekitError

if TYPE_CHECKING:
    from safekit.daemon.daemon import Daemon

GATHER_S: Final = 20.0
"""For what the daemon and the modules' hosts know."""
INSPECT_S: Final = 6.0
WAIT: Final = "wait for its end: a minute at most"
LEAST_BYTES: Final = 64 << 10
Bytes = Annotated[int, Field(ge=LEAST_BYTES, le=ARCHIVE_BYTES)]


class PartArgs(Args):
    limit_bytes: Bytes = ARCHIVE_BYTES


class SnapshotArgs(Args):
    limit_bytes: Bytes = ARCHIVE_BYTES
    """Of the whole, compressed; each node has its share."""


class Snapshots:
    def __init__(self, daemon: Daemon, examination: Examination) -> None:
        self._daemon = daemon
        self._examination = examination
        self._part_made = asyncio.Lock()
        self._whole_made = asyncio.Lock()

    def register(self, operations: Operations) -> None:
        operations.add("snapshot-part", PartArgs, self.part, peers=True, needs=Power.CONFIGURE)
        operations.add("snapshot", SnapshotArgs, self.snapshot, peers=False, needs=Power.CONFIGURE, noted=True)

    async def snapshot(self, args: SnapshotArgs) -> dict[str, Any]:
        """The file in base64, and why which node is not in it. A node that is not heard is not asked."""
        if self._whole_made.locked():
            raise RefusedError("a snapshot is being made on this node already", hint=WAIT)
        async with self._whole_made:
            own = self._daemon.configuration
            made, names = time.time(), [node.name for node in own.cluster.nodes]
            share = max(min(args.limit_bytes // len(names), args.limit_bytes - LEAST_BYTES), LEAST_BYTES)
            found = await asyncio.gather(*[self._ask(node, share) for node in names])
            notes = {node: note for node, (note, _) in zip(names, found, strict=True)}
            parts = {node: part for node, (_, part) in zip(names, found, strict=True) if part}
            manifest = Manifest(made=made, asker=own.node, version=__version__, nodes=notes)
            text = await asyncio.to_thread(lambda: base64.b64encode(compose(manifest, parts)).decode())
        missing = {node: note.trouble for node, note in notes.items() if note.trouble}
        return {"made": made, "archive": text, "missing": missing}

    async def _ask(self, node: str, share: int) -> tuple[NodeNote, bytes]:
        if node not in self._heard():
            return NodeNote(trouble="it is not heard"), b""
        try:
            async with asyncio.timeout(GATHER_S + PART_S + 5.0):
                clock = await self._examination.clock_of(node)
                part = await self._asked(node, PartArgs(limit_bytes=share))
        except TimeoutError:
            return NodeNote(trouble="it did not answer in time"), b""
        except SafekitError as error:
            return NodeNote(trouble=error.message[:2000]), b""
        return NodeNote(clock=clock), part

    def _heard(self) -> set[str]:
        peers = engine.peers(self._daemon.runtime.node, time.monotonic())
        return {self._daemon.configuration.node, *(peer.node for peer in peers if peer.alive)}

    async def _asked(self, node: str, args: PartArgs) -> bytes:
        if node == self._daemon.configuration.node:
            return await self._make(args)
        text = await self._daemon.bus.call(node, "snapshot-part", args.model_dump(), GATHER_S + PART_S)
        return await asyncio.to_thread(_checked, node, text, args.limit_bytes)

    async def part(self, args: PartArgs) -> str:
        return await asyncio.to_thread(lambda part: base64.b64encode(part).decode(), await self._make(args))

    async def _make(self, args: PartArgs) -> bytes:
        if self._part_made.locked():
            raise RefusedError("another snapshot is being made on it", hint=WAIT)
        async with self._part_made:
            gathered = await self._gathered(args)
            limit_bytes = args.limit_bytes + 1
            request = gathered.model_dump_json().encode()
            made = await ask_child(("safekit.snapshot",), request, time_s=PART_S, limit_bytes=limit_bytes)
        if not made or len(made) > args.limit_bytes:
            raise PeerError("its part of the snapshot could not be made", hint="`safekit doctor` there")
        return made

    async def _gathered(self, args: PartArgs) -> Gathered:
        own = self._daemon.configuration
        inspected, facts = await asyncio.gather(self._inspected(), self._examination.facts_of(FactsArgs()))
        nodes, networks = own.cluster.nodes, own.cluster.networks
        addresses = {address for node in nodes for address in node.addresses.values()}
        return Gathered(
            node=own.node,
            facts=facts,
            status=self._daemon.describe(),
            inspected=inspected,
            public=tuple({*(node.name for node in nodes), *(network.name for network in networks), *addresses}),
            limit_bytes=args.limit_bytes,
        )

    async def _inspected(self) -> dict[str, Any]:
        """Of each module what its resources say; why not, where its host does not."""
        names = sorted(self._daemon.configuration.modules)

        async def ask(name: str) -> Any:
            try:
                async with asyncio.timeout(INSPECT_S):
                    return await self._daemon.hosts.inspect(name, {})
            except (SafekitError, TimeoutError) as error:
                return {"error": str(error) or "no answer in time"}

        return dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))


def _checked(node: str, text: object, limit_bytes: int) -> bytes:
    """What another node sent; PeerError when it may not have."""
    try:
        part = base64.b64decode(str(text), validate=True)
    except binascii.Error:
        raise PeerError(f"{node} sent a part of a snapshot that is not base64") from None
    if len(part) > limit_bytes:
        raise PeerError(f"{node} sent a part of a snapshot of {len(part)} bytes; the limit is {limit_bytes}")
    check_part(node, part)
    return part
