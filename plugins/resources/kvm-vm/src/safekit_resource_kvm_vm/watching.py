"""What a running guest's health is: QEMU's end and libvirt's events at once, the guest agent by asking."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from safekit_resource_kvm_vm.config import KvmVmConfig
from safekit_resource_kvm_vm.libvirt import Libvirt, State
from safekit_sdk import ConfigError, Verdict
from safekit_sdk.process import open_pidfd

EVENTS_MAX: Final = 100
AGAIN_S: Final = 1.0
"""Between two attempts to hear libvirt's events."""
FULL_BYTES: Final = 16 << 20
_PASSING: Final = ("booted", "starting up", "migrating", "saving", "snapshot", "dumping", "migration", "dump")


@dataclass(slots=True)
class Watch:
    config: KvmVmConfig
    libvirt: Libvirt
    has_agent: bool
    defined: Callable[[], Awaitable[str]]
    """Called when somebody may have changed the domain in libvirt; what is wrong with that."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=EVENTS_MAX))
    _agent_answered: bool = False
    _silences: int = 0
    _heard_last: str = ""
    _wrong: str = ""

    async def verdicts(self, pid: int) -> AsyncGenerator[Verdict, None]:
        """Until QEMU has ended, which is the last verdict."""
        pidfd = open_pidfd(pid)
        if pidfd is None:
            yield Verdict.down(f"QEMU, process {pid}, has ended")
            return
        loop = asyncio.get_running_loop()
        ended: list[int] = []

        def note_the_end() -> None:
            loop.remove_reader(pidfd)
            ended.append(pid)
            self._news.set()

        loop.add_reader(pidfd, note_the_end)
        hearing = asyncio.create_task(self._hear())
        try:
            while not ended:
                yield await self._verdict()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.config.interval.seconds):
                        await self._news.wait()
                self._news.clear()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
        yield Verdict.down(f"QEMU, process {pid}, has ended: {self._last_words()}", pid=str(pid))

    async def _hear(self) -> None:
        while True:
            async with self.libvirt.events() as stream:
                self._news.set()
                while line := await _line(stream):
                    self._lines.append(line)
                    self._news.set()
            await asyncio.sleep(AGAIN_S)

    async def _verdict(self) -> Verdict:
        lines = list(self._drain())
        if not lines or any(("'lifecycle'" in line and "Defined" in line) or "'block-job" in line for line in lines):
            self._wrong = await self.defined()  # without news as well: no event tells of a snapshot
        if self._wrong:
            return Verdict.down(self._wrong)
        if any("'watchdog'" in line and line.rstrip().endswith("none") for line in lines):
            return Verdict.down("the guest hangs: it did not feed its watchdog")
        try:
            state = await self.libvirt.state()
        except ConfigError as error:
            return Verdict.unknown(f"QEMU lives; {error.message}")
        if state is None:
            return Verdict.unknown("QEMU lives, but libvirt does not know it")
        return await self._ask_agent(state) if state.runs else self._stands(state)

    def _drain(self) -> Iterator[str]:
        """All that was heard, the last one kept for the last words."""
        heard = list(self._lines)
        self._heard_last = heard[-1] if heard else self._heard_last
        self._lines.clear()
        yield from heard

    def _last_words(self) -> str:
        said = [*self._lines] or [self._heard_last]
        words = said[-1].partition("': ")[2] or said[-1]
        return words or "it was killed, or the guest switched itself off"

    def _stands(self, state: State) -> Verdict:
        reason = state.reason.lower()
        if any(word in reason for word in _PASSING):
            return Verdict.unknown(f"the guest is {state}")
        if "i/o error" in reason and _is_full(self.config.directory):
            return Verdict.unknown(
                f"the guest is stopped: {self.config.directory} is full; make room, then "
                f"`virsh resume {self.config.domain}`"
            )
        if state.word == "paused" and reason in ("user", "unknown"):
            return Verdict.unknown(f"somebody suspended the guest; `virsh resume {self.config.domain}`")
        if "watchdog" in reason:
            return Verdict.down("the guest hangs: it did not feed its watchdog")
        return Verdict.down(f"the guest is {state}")

    async def _ask_agent(self, state: State) -> Verdict:
        """It counts only after it has answered once: until then the guest boots, or has none."""
        if not (self.config.agent and self.has_agent):
            return Verdict.up(str(state))
        answer = await self.libvirt.ping_agent(self.config.timeout.seconds)
        if answer is not False:
            self._silences = 0
            self._agent_answered = self._agent_answered or answer is True
            return Verdict.up(f"{state}{', its agent answers' if answer else ''}")
        self._silences += 1
        if self._agent_answered and self._silences >= self.config.fall:
            return Verdict.down(
                f"the guest hangs: its agent answered before, and not to {self._silences} questions now"
            )
        return Verdict.up(f"{state}, its agent is silent")


async def _line(stream: asyncio.StreamReader) -> str:
    """Empty at the end; one that is too long is left out."""
    try:
        return (await stream.readline()).decode(errors="replace").strip() or "\n" * (not stream.at_eof())
    except ValueError:
        return "?"


def _is_full(directory: Path) -> bool:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize < FULL_BYTES
