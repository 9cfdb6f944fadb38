"""The process of one replicated directory: `python -m safekit_resource_rfs.datapath SETTINGS`.

It is started by the resource, and found again by its control socket. It ends when it is told to, by TERM, or when it
cannot start; its last line is then JSON with what is wrong and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from safekit_resource_rfs import kept, opening, treestate
from safekit_resource_rfs.control import ControlServer, Request
from safekit_resource_rfs.handover import REHEARSE, RUNNING, State, arrive, read_state
from safekit_resource_rfs.serving import PRUNE_S, DataPath
from safekit_resource_rfs.settings import Settings
from safekit_resource_rfs.telling import Teller
from safekit_resource_rfs.turns import Loop
from safekit_resource_rfs.upgrading import Upgrade
from safekit_sdk import ConfigError, SafekitError

_LOG: Final = logging.getLogger(__name__)
LOCK: Final = "lock"
OPEN_FILES: Final = 65536
Answer = Mapping[str, Any]


class Process:
    """Answers the control socket until it is told to stop."""

    def __init__(self, path: DataPath, lock_fd: int) -> None:
        self._path = path
        self._lock_fd = lock_fd
        self._teller = Teller(path)
        self._one_at_a_time = asyncio.Lock()
        self._ended = asyncio.Event()
        self._is_stopped = False
        self._is_leaving = False
        """Another program takes over in a moment: whoever asks now hears nothing, and asks that one."""
        self._control = ControlServer(path.settings.run_dir, self._perform, self._teller.watch)
        self._words: dict[str, Callable[[Request], Awaitable[None]]] = {
            "promote": self._promote,
            "demote": lambda asked: path.demote(force=bool(asked["force"])),
            "stand_alone": lambda asked: path.stand_alone(int(asked["epoch"])),
            "pair": self._pair,
            "meet": self._meet,
            "stop": lambda asked: self.stop(force=bool(asked["force"])),
            "sync": self._sync,
            "verify": self._verify,
            "reconnect": self._reconnect,
            "upgrade": self._upgrade,
        }
        self._looks: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "status": self._status,
            "diff": self._diff,
            "conflicts": self._list_kept,
            "conflict": self._find_kept,
            "restore": self._restore,
        }

    async def run(self, control_fd: int = -1) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._terminate)
        pruning = loop.create_task(self._prune())
        await self._control.open(control_fd)
        try:
            await self._ended.wait()
        finally:
            pruning.cancel()
            await self._control.close()

    async def _upgrade(self, _: Request) -> None:
        upgrade = Upgrade(self._path, self._lock_fd, self._control.fd)
        await upgrade.prepare()
        self._is_leaving = True
        # the answer to who asked goes out first
        asyncio.get_running_loop().call_later(0.02, upgrade.finish)

    def _terminate(self) -> None:
        self._ending = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        async with self._one_at_a_time:
            if not self._is_stopped:
                await self.stop(force=True)

    async def stop(self, *, force: bool) -> None:
        await self._path.stop(force=force)
        self._is_stopped = True
        # the answer to who asked goes out first
        asyncio.get_running_loop().call_later(0.05, self._ended.set)

    async def _prune(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._path.prune)
            await asyncio.sleep(PRUNE_S)

    async def _perform(self, request: Request) -> Answer:
        word = str(request["do"])
        if word in self._looks:
            return await self._looks[word](request)
        if word not in self._words:
            raise ConfigError(f"'{word}' is not a request", hint=f"one of {', '.join((*self._words, *self._looks))}")
        async with self._one_at_a_time:
            if self._is_leaving:
                await asyncio.Event().wait()
            await self._words[word](request)
        return self._teller.status() if word != "stop" else {}

    async def _status(self, _: Request) -> Answer:
        return self._teller.status()

    async def _promote(self, asked: Request) -> None:
        await self._path.promote(int(asked["epoch"]), alone=bool(asked["alone"]), joins=bool(asked.get("joins")))

    async def _pair(self, _: Request) -> None:
        self._path.pair()

    async def _meet(self, asked: Request) -> None:
        addresses = [str(address) for address in asked["addresses"]][:8]
        await self._path.meet(str(asked["node"]), addresses, str(asked["place"]))

    async def _sync(self, asked: Request) -> None:
        if asked.get("from_primary"):
            await self._path.allow_overwriting()
        else:
            self._path.resynchronise(full=bool(asked.get("full")))

    async def _reconnect(self, _: Request) -> None:
        self._path.reconnect()

    async def _verify(self, _: Request) -> None:
        self._path.verify()

    async def _diff(self, _: Request) -> Answer:
        verification = self._path.verification
        if verification is None:
            raise ConfigError("nothing was compared since this node became primary", hint="safekit rfs verify")
        found = [{"path": os.fsdecode(one.path), "what": one.what} for one in verification.differences]
        return {"differences": found, "failure": verification.failure, "is_over": not self._path.is_verifying}

    async def _list_kept(self, _: Request) -> Answer:
        found = await asyncio.to_thread(kept.listed, self._path.root_fd)
        return {"kept": [asdict(one) for one in found]}

    async def _find_kept(self, asked: Request) -> Answer:
        found = kept.find(self._path.root_fd, str(asked["set"]), str(asked["path"]))
        beneath = found.relative_to(f"/proc/self/fd/{self._path.root_fd}")
        return {"place": f"/proc/{os.getpid()}/fd/{self._path.root_fd}/{beneath}"}

    async def _restore(self, asked: Request) -> Answer:
        if self._path.primary is None:
            raise ConfigError(
                "this node is not primary: what is restored here would not reach the other",
                hint="copy the file that `conflicts show` names to the primary's directory, or swap the module first",
            )
        target = _within(self._path.config.directory, str(asked["to"]))
        await asyncio.to_thread(kept.restore, self._path.root_fd, str(asked["set"]), str(asked["path"]), target)
        return {"place": str(target)}


def _within(directory: Path, text: str) -> Path:
    if Path(text).is_absolute() or ".." in Path(text).parts or not Path(text).parts:
        raise ConfigError(f"'{text}' is not a path in {directory}", hint="give it relative, without '..'")
    return directory / text


def _lock(state_dir: Path) -> int:
    """Held as long as this process lives. ConfigError when another has it."""
    descriptor = os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"another data path has {state_dir}", hint="stop the module by force: safekit module stop --force"
        ) from None
    return descriptor


def _settle_in() -> None:
    """Not the first to be killed when memory is short, and enough open files."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-900", encoding="ascii")
    os.umask(0)


async def _serve(settings: Settings, lock_fd: int) -> None:
    path = await opening.open_anew(settings)
    await Process(path, lock_fd).run()


async def _take_over(settings: Settings, state: State) -> None:
    path = await opening.take_over(settings, state)
    _LOG.info("version %s has taken over from %s", RUNNING, state.program)
    await Process(path, state.lock_fd).run(state.control_fd)


def _run(settings: Settings, word: str, fd: int) -> None:
    state = read_state(fd) if word else None
    if state and state.primary:
        treestate.check(state.primary.tree)
    if word == REHEARSE:
        return
    lock_fd = state.lock_fd if state else _lock(settings.state_dir)
    _settle_in()
    with asyncio.Runner(loop_factory=Loop) as runner:
        if state:
            arrive(state)
            runner.run(_take_over(settings, state))
        else:
            runner.run(_serve(settings, lock_fd))
    os.close(lock_fd)


def main(argv: list[str]) -> int:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    word, number = argv[2:4] if len(argv) > 3 else ("", "-1")
    try:
        _run(Settings.read(Path(argv[1])), word, int(number))
    except SafekitError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}), flush=True)
        return 1
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(json.dumps({"error": what, "hint": "see the log beside"}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
