"""A directory that is the same on both nodes of a mirror. The work is done by the data path, a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from safekit_resource_rfs import confronting, examining, plan
from safekit_resource_rfs.config import RfsConfig
from safekit_resource_rfs.control import PeerGoneError, ask, follow
from safekit_resource_rfs.fuse.mounting import is_mounted
from safekit_resource_rfs.handover import installed_version
from safekit_resource_rfs.leftovers import detach_all
from safekit_resource_rfs.settings import SETTINGS, Settings
from safekit_resource_rfs.standing import PUBLISHED, Seat, Standing, say_again
from safekit_sdk import (
    ConfigError,
    Context,
    Duration,
    Examination,
    ModuleKind,
    Peer,
    PeerError,
    Resource,
    ResourceState,
    SafekitError,
    Scope,
    Status,
    Verdict,
)
from safekit_sdk.process import Family, launch
from safekit_sdk.procfs import describe

LOOK_S: Final = 0.02
LOG: Final = "datapath.log"
LOG_BYTES: Final = 1 << 20
LAST_WORDS_BYTES: Final = 2048
END_GRACE_S: Final = 5.0
PRIMARY: Final = "PRIM"
"""The state in which both nodes have what is acknowledged."""
PATIENCE: Final = 0.9
"""The part of a time limit that the data path has to answer."""


class RfsResource(Resource[RfsConfig], api=1):
    """Replicates a directory to the other node, synchronously: what is acknowledged to the application is on both."""

    replicates: ClassVar[bool] = True
    restarts: ClassVar[bool] = False
    bears: ClassVar[bool] = True
    live_keys: ClassVar[frozenset[str]] = frozenset(
        {
            "network",
            "timeout",
            "bandwidth",
            "checkpoint",
            "first_sync",
            "verify_at",
            "sync_at",
            "keep_aside",
            "keep_aside_size",
        }
    )
    publishes: ClassVar[tuple[str, ...]] = PUBLISHED

    def __init__(self, config: RfsConfig, context: Context) -> None:
        super().__init__(config, context)
        self._seat = Seat(context.node, context.module, context.name)
        self._place = ""
        """As it was told last."""
        self._verified: object = self
        """The last comparison that is known; of those before this instance nothing is."""

    @classmethod
    def ident(cls, config: RfsConfig) -> str:
        """Of the directory's last part, unless a name is given."""
        last = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in config.directory.name)
        return config.name or last.strip("-")[:63] or "rfs"

    @classmethod
    def scopes(cls, config: RfsConfig, kind: ModuleKind) -> tuple[Scope, ...]:  # noqa: ARG003 - a hook of the SDK
        return ("both",)

    @classmethod
    def preflight(cls, config: RfsConfig, kind: ModuleKind) -> list[str]:
        if kind != "mirror":
            return [f"rfs replicates between the two nodes of a mirror; this module is of kind {kind}"]
        return plan.findings(config.directory)

    @classmethod
    def examine(cls, config: RfsConfig, context: Context, beside: Sequence[RfsConfig]) -> Examination:
        if context.kind != "mirror":
            return super().examine(config, context, beside)
        return examining.examine(config, context, beside)

    @classmethod
    def confront(cls, config: RfsConfig, facts: Mapping[str, Mapping[str, str]]) -> Mapping[str, Sequence[str]]:
        return confronting.confront(config, facts)

    @classmethod
    def remarks(cls, config: RfsConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        said = []
        if config.mode != "write":
            said.append(
                f"mode {config.mode}: what was written without fsync is lost in a crash of one node, as on a single "
                "machine; mode write loses nothing that a call acknowledged"
            )
        if config.first_sync == "overwrite":
            said.append(f"first_sync: overwrite replaces what is in {config.directory} of a node that joins anew")
        return said

    @property
    def _run(self) -> Path:
        return self.context.run_dir

    @property
    def _family(self) -> Family:
        return Family.of(self.context, f"rfs.{self.context.name}")

    async def start(self) -> None:
        if await self._answers():
            await self._upgrade()
        else:
            await self._begin()
        status = await ask(self._run, {"do": "status"})
        if self.change.before == PRIMARY:
            self._tell_place(status)  # its promotion follows, and says how it stands: the others of the module go on
        else:
            say_again(self.context.node, self.context.module)
            self._say(status)

    async def _answers(self) -> bool:
        with contextlib.suppress(SafekitError):
            return bool(await ask(self._run, {"do": "status"}))
        return False

    async def _upgrade(self) -> None:
        """To the version that is installed, where another one runs. One that cannot take over now does so at the next
        start, or by `safekit rfs upgrade`."""
        running, installed = (await ask(self._run, {"do": "status"})).get("version", ""), installed_version()
        if running == installed:
            return
        try:
            await ask(self._run, {"do": "upgrade"}, _patience_s(self.config.start_timeout))
        except SafekitError as error:
            self.context.log(f"version {running} of the data path goes on, {installed} is installed: {error.message}")

    async def reconfigure(self, before: RfsConfig) -> None:  # noqa: ARG002 - all settings are read anew
        """As a new version takes over: in place, under the mount. When that cannot be now, programs are not stopped for
        it: the settings count from the next time on."""
        self._write_settings()
        try:
            await ask(self._run, {"do": "upgrade"}, _patience_s(self.config.start_timeout))
        except SafekitError as error:
            self.context.log(f"the data path goes on with the former settings until its next start: {error.message}")

    def _write_settings(self) -> None:
        context = self.context
        settings = Settings(context.node, context.module, context.name, context.state_dir, self._run, self.config)
        settings.write(self._run / SETTINGS)

    async def _begin(self) -> None:
        await self._family.end_all(0.0)
        self._write_settings()
        self._bound_log()
        log = self._run / LOG
        begin = log.stat().st_size if log.exists() else 0
        program = launch(
            [sys.executable, "-m", "safekit_resource_rfs.datapath", str(self._run / SETTINGS)],
            output=log,
            env={**os.environ, **self._family.environment},
            cwd=Path("/"),
            cgroup=self._family.home(),
        )
        while not await self._answers():
            if program.poll() is not None:
                message, hint = self._last_words(begin)
                raise ConfigError(message, where=str(self.config.directory), hint=hint)
            await asyncio.sleep(LOOK_S)

    def _bound_log(self) -> None:
        log = self._run / LOG
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))

    def _last_words(self, begin: int) -> tuple[str, str]:
        """Why the data path ended: its last line is JSON when it knew itself."""
        with (self._run / LOG).open("rb") as log:
            log.seek(max(begin, log.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
            lines = log.read(LAST_WORDS_BYTES).decode(errors="replace").strip().splitlines() or [""]
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(lines[-1])
            return str(said["error"]), str(said["hint"])
        return f"the data path ended while it started: {lines[-1]}", f"see {self._run / LOG}"

    async def stop(self, force: bool) -> None:
        """In good order the mount goes first, which fails while programs have files open in it."""
        limit = self.config.force_stop_timeout if force else self.config.stop_timeout
        if self._family.pids():
            try:
                await ask(self._run, {"do": "stop", "force": force}, _patience_s(limit) / 2)
            except SafekitError as error:
                if not force and isinstance(error, ConfigError):
                    raise
        await self._family.end_all(0.0 if force else END_GRACE_S)
        await asyncio.to_thread(detach_all, self.config.directory)
        (self._run / SETTINGS).unlink(missing_ok=True)

    async def status(self) -> Status:
        pids = self._family.pids()
        mounted = is_mounted(self.config.directory)
        if not pids:
            state = ResourceState.FAILED if mounted else ResourceState.STOPPED
            return Status(state, "the data path has ended, its mount is left" if mounted else "")
        try:
            status = await ask(self._run, {"do": "status"})
        except SafekitError as error:
            return Status(ResourceState.FAILED, error.message)
        return Status(ResourceState.STARTED if mounted else ResourceState.FAILED, _sentence(status, describe(pids)))

    async def promote(self) -> None:
        """In a module that is PRIM already, a directory that was never replicated begins with what is in it here."""
        alone, joins = self.change.after != PRIMARY, self.change.before == PRIMARY
        await self._do("promote", epoch=self.change.epoch, alone=alone, joins=joins, limit=self.config.start_timeout)

    async def demote(self, force: bool) -> None:
        limit = self.config.force_stop_timeout if force else self.config.stop_timeout
        await self._do("demote", force=force, limit=limit)

    async def pair(self) -> None:
        await self._do("pair", epoch=self.change.epoch)

    async def stand_alone(self) -> None:
        await self._do("stand_alone", epoch=self.change.epoch)

    async def meet(self, peer: Peer) -> None:
        networks = sorted(peer.addresses, key=lambda network: network != self.config.network)
        addresses = [peer.addresses[network] for network in networks]
        await self._do("meet", node=peer.node, addresses=addresses, place=peer.place)

    async def _do(self, word: str, limit: Duration | None = None, **arguments: Any) -> None:
        """As asked for, and what follows from it for the engine is said before this returns."""
        timeout_s = _patience_s(limit or self.config.stop_timeout)
        request = {"do": word, "timeout_s": timeout_s, **arguments}
        try:
            status = await ask(self._run, request, timeout_s)
        except PeerGoneError:  # another version took over before it answered; what is done twice changes nothing
            status = await ask(self._run, request, timeout_s)
        self._say(status)

    def _tell_place(self, status: Mapping[str, Any]) -> None:
        if status["place"] != self._place:
            self._place = str(status["place"])
            self.tell_place(self._place)

    def _say(self, status: Mapping[str, Any]) -> None:
        self._tell_place(status)
        self._seat.say(Standing.read(status), self.context.set_value)
        verified = status["verified"]
        if self._verified is not self and verified != self._verified and verified:
            self.context.log(verified["told"])
        self._verified = verified

    async def inspect(self, question: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002 - a hook of the SDK
        return _facts(await ask(self._run, {"do": "status"}))

    async def watch(self) -> AsyncIterator[Verdict]:
        """Down when the data path died or this node's disk fails; what the other node does is in the values."""
        while True:
            try:
                async with contextlib.aclosing(follow(self._run)) as told:
                    async for status in told:
                        self._say(status)
                        yield _judge(status)
            except PeerError as error:
                if not self._family.pids():
                    yield Verdict.down("the data path ended; the directory cannot be used until it is started again")
                else:
                    yield Verdict.unknown(error.message)
            await asyncio.sleep(1.0)


def _facts(status: Mapping[str, Any]) -> dict[str, str]:
    """Flat: `resync.left_s` is of what stands below `resync`."""
    facts: dict[str, str] = {}
    for key, value in status.items():
        if isinstance(value, Mapping):
            facts |= {f"{key}.{below}": text for below, text in _facts(value).items()}
        elif isinstance(value, (str, int, float)):
            facts[key] = str(value)
    return facts


def _judge(status: Mapping[str, Any]) -> Verdict:
    if failure := status.get("failure"):
        return Verdict.down(str(failure))
    return Verdict.up(_sentence(status, ""))


def _sentence(status: Mapping[str, Any], who: str) -> str:
    words = [str(status.get("role")), str(status.get("link")), f"epoch {status.get('epoch')}", status.get("waits"), who]
    return ", ".join(filter(None, words))


def _patience_s(limit: Duration) -> float:
    return limit.seconds * PATIENCE
