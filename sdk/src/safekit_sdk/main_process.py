"""The main process of an application: waited for as it starts, watched while it runs, told to end."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from safekit_sdk.errors import ConfigError
from safekit_sdk.hysteresis import Hysteresis
from safekit_sdk.process import open_pidfd, wait_ended
from safekit_sdk.procfs import describe, listens
from safekit_sdk.program_log import ProgramLog
from safekit_sdk.resource import ResourceState, Status
from safekit_sdk.verdict import Verdict

Found = TypeVar("Found")
TELL_S: Final = 10.0
"""Between two lines on a start that takes long."""


@dataclass(frozen=True, slots=True)
class MainProcess:
    name: str
    """The application's, for messages."""
    find: Callable[[], int | None]
    """Its process id, while it lives."""
    log: ProgramLog

    async def until_ready(
        self,
        look: Callable[[int], Awaitable[str]],
        patience_s: float,
        tell: Callable[[str], None],
        *,
        pause_s: float = 0.02,
    ) -> None:
        """Until `look` at the process has nothing to say; what it says is why it is not ready yet. ConfigError when it
        ends, or takes longer."""
        loop = asyncio.get_running_loop()
        begun_s = told_s = loop.time()
        with self._held() as (pid, pidfd):
            while True:
                still = await look(pid) if pid else ""
                if not pid or await wait_ended(pidfd, pause_s if still else 0.0):
                    raise self._ended()
                if not still:
                    return
                words = f"{self.name} is not ready after {loop.time() - begun_s:.0f} s: {still}"
                if loop.time() > begun_s + patience_s:
                    raise ConfigError(f"{words}; {self.log.last_words()}", hint="raise `start_timeout`")
                if loop.time() > told_s + TELL_S:
                    told_s = loop.time()
                    tell(words)

    def _ended(self) -> ConfigError:
        return ConfigError(
            f"{self.name} ended as it started: {self.log.last_words() or 'it said nothing'}",
            hint=f"its own log, or {self.log.path}, may say more; is its port taken by another program?",
        )

    async def watch(
        self, ask: Callable[[int], Awaitable[Verdict]], interval_s: float, fall: int = 1
    ) -> AsyncGenerator[Verdict, None]:
        """What is new: its death, at once; and what it is asked every `interval_s`."""
        while True:
            with self._held() as (pid, pidfd):
                standing, pause_s = Hysteresis(1, fall), 0.0
                while pid and not await wait_ended(pidfd, pause_s):
                    pause_s = interval_s
                    self.log.bound()
                    if said := standing.feed(await ask(pid)):
                        yield said
            what = f"{self.name}, process {pid}, ended" if pid else f"{self.name} does not run"
            yield Verdict.down(f"{what}: {self.log.last_words()}", pid=str(pid))
            await asyncio.sleep(interval_s)

    async def ends(self, number: signal.Signals, bound_s: float, *, again_s: float = math.inf) -> bool:
        """Send it the signal, which it hears even when it was stopped; whether it has ended within this time. It is
        sent every `again_s`, to one that does not hear while it starts, or refuses while it cannot write."""
        with self._held() as (pid, pidfd):
            while pid and bound_s > 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, number)
                    signal.pidfd_send_signal(pidfd, signal.SIGCONT)
                if await wait_ended(pidfd, min(bound_s, again_s)):
                    return True
                bound_s -= again_s
            return not pid

    def status(self, family: Callable[[], Collection[int]], *, must_listen: bool = False) -> Status:
        """Started while it lives, and listens where it must; failed while others of its family are left."""
        pid = self.find()
        if pid is None:
            return self.absent(family())
        if must_listen and not listens(pid):
            return Status(ResourceState.FAILED, f"process {pid} listens nowhere")
        return Status(ResourceState.STARTED, f"process {pid}")

    def absent(self, left: Collection[int]) -> Status:
        """The status while there is none, and these are left of its family."""
        if left:
            return Status(ResourceState.FAILED, f"its main process is gone, others of it are left: {describe(left)}")
        return Status(ResourceState.STOPPED)

    @contextlib.contextmanager
    def _held(self) -> Iterator[tuple[int, int]]:
        """Its id and a pidfd; two zeros when there is none."""
        pid = self.find()
        pidfd = open_pidfd(pid) if pid is not None else None
        if pid is None or pidfd is None:
            yield 0, 0
            return
        try:
            yield pid, pidfd
        finally:
            os.close(pidfd)


def asking(
    find: Callable[[], Awaitable[Found]], ask: Callable[[Found], Awaitable[Verdict]]
) -> Callable[[int], Awaitable[Verdict]]:
    """A look for `MainProcess.watch`: `find` says once for each process how it is asked; unknown while it cannot."""
    known: dict[int, Found] = {}

    async def look(pid: int) -> Verdict:
        try:
            if pid not in known:
                known.clear()
                known[pid] = await find()
            return await ask(known[pid])
        except ConfigError as error:
            return Verdict.unknown(error.message)

    return look
