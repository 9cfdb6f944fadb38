"""What a data path hands over to the program that takes its place under a mount that lives: its state as one versioned
document, and descriptors that stay open across execve(2).

The new program reads the document in a rehearsal first, in a process of its own, while the old one goes on serving."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NoReturn, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from safekit_resource_rfs.defects import end_process
from safekit_sdk import ConfigError

FORMAT: Final = 1
"""Of the document. A program that does not know it says so in the rehearsal."""
PROGRAM: Final = "safekit_resource_rfs.datapath"
REHEARSE, TAKE_OVER = "--rehearse", "--take-over"
REHEARSAL_S: Final = 20.0
MAX_SAID_BYTES: Final = 4096
Row: TypeAlias = tuple[int, int, int, int, str, int, int, int, tuple[tuple[int, str], ...]]
"""A node: id, inode, kind, id of its parent, name, lookups, flags, descriptor if it has no name, its other names."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TreeState(_Part):
    """Names as text of the same numbers (latin-1), here and below."""

    next_id: int
    root_lookups: int
    rows: list[Row]
    absent: list[str]
    """Names in the root of which the kernel keeps that they are not there."""


class MountState(_Part):
    root_fd: int
    device_fd: int
    minor: int
    """Of the kernel's protocol, as it was agreed."""
    next_id: int
    notice: str
    notice_id: int


class PrimaryState(_Part):
    stream: str
    next_seq: int
    held: bool
    may_pair: bool
    tree: TreeState


class SecondaryState(_Part):
    session: str
    followed: str
    applied: int
    slots: dict[int, int]
    """Descriptors by slot."""


class State(_Part):
    format: int
    program: str
    """The version that hands over."""
    lock_fd: int
    control_fd: int
    listener_fds: list[int]
    mount: MountState
    primary: PrimaryState | None
    secondary: SecondaryState | None
    peer_node: str
    addresses: list[str]
    place: str
    """Of the other node, as it was told last."""
    waits_for_calendar: bool
    last_event: str

    @property
    def descriptors(self) -> list[int]:
        """All that stay open."""
        nameless = [row[7] for row in self.primary.tree.rows if row[7] >= 0] if self.primary else []
        slots = self.secondary.slots.values() if self.secondary else ()
        fixed = (self.lock_fd, self.control_fd, self.mount.root_fd, self.mount.device_fd)
        return [*fixed, *self.listener_fds, *nameless, *slots]


def installed_version() -> str:
    """Of this package, as it is on the disk now; not of what runs."""
    try:
        return version("safekit-resource-rfs")
    except PackageNotFoundError:
        return ""


RUNNING: Final = installed_version()
"""The version that this process is of."""


def write_state(state: State) -> int:
    """A file in memory."""
    fd = os.memfd_create("safekit-rfs-state", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(state.model_dump_json().encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read_state(fd: int) -> State:
    """ConfigError when this program cannot go on from it. The descriptor is closed."""
    with os.fdopen(fd, "rb") as file:
        text = file.read()
    try:
        found = json.loads(text)["format"]
        if found != FORMAT:
            raise ConfigError(f"the state has the format {found}; this program reads {FORMAT}")
        return State.model_validate_json(text)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(f"the state cannot be read: {str(error)[:500]}") from error


async def rehearse(state: State, settings: str) -> None:
    """The program that is installed now reads the state and the settings, and changes nothing. ConfigError with what it
    says when it cannot go on from there."""
    fd = write_state(state)
    try:
        child = await asyncio.create_subprocess_exec(
            *_command(settings, REHEARSE, fd),
            pass_fds=(fd,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    finally:
        os.close(fd)
    try:
        async with asyncio.timeout(REHEARSAL_S):
            said, _ = await child.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        raise
    if child.returncode:
        raise ConfigError(
            f"the installed version cannot take over, and this one goes on: {_last_words(said)}",
            hint="install another version; or stop the module here, or swap it, and start it again",
        )


def _last_words(said: bytes) -> str:
    line = said[-MAX_SAID_BYTES:].decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(line[0])["error"])
    return line[0]


def _command(settings: str, word: str, fd: int) -> list[str]:
    return [sys.executable, "-m", PROGRAM, settings, word, str(fd)]


def become(state: State, settings: str) -> NoReturn:
    """The program that is installed now, in this process. What is not handed over is closed by the kernel."""
    try:
        fd = write_state(state)
        _keep((fd, *state.descriptors), inheritable=True)
        command = _command(settings, TAKE_OVER, fd)
        os.execve(command[0], command, os.environ)
    except OSError as error:  # the rehearsal ran the same program a moment ago
        end_process("as another version was to take over", error)


def arrive(state: State) -> None:
    """No program that is started from here gets what was handed over."""
    _keep(state.descriptors, inheritable=False)


def _keep(descriptors: Iterable[int], *, inheritable: bool) -> None:
    for fd in descriptors:
        os.set_inheritable(fd, inheritable)
