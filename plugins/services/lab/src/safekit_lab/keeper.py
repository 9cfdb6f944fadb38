"""The keeper: the one process that holds a lab. It is the ancestor of every node and the owner of every mount."""

import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from . import control, kernel, state
from .error import LabError
from .layout import LabSpec
from .messages import (
    REQUEST,
    Boot,
    Crash,
    Describe,
    Down,
    FillDisk,
    FreeDisk,
    Freeze,
    Lose,
    Reply,
    Request,
    Thaw,
)
from .state import LabDir
from .world import World

_CLIENT_S = 5.0
UP = "up"
_READABLE = select.POLLIN


class Keeper:
    """Serves one request at a time: a lab changes in one order, that of the requests."""

    def __init__(self, world: World, folder: LabDir, owner: int | None) -> None:
        self._world = world
        self._door = control.listen(folder)
        self._alarm = _signals_as_descriptor(signal.SIGCHLD, signal.SIGTERM)
        self._owner = owner
        self._leaving = False

    def serve(self) -> None:
        """Return when the lab is to go down: on request, on SIGTERM, or because its owner has ended."""
        poll = select.poll()
        actions: dict[int, Callable[[], None]] = {
            self._door.fileno(): self._answer,
            self._alarm.fileno(): self._hear_signals,
        }
        if self._owner is not None:
            actions[self._owner] = self._leave
        for descriptor in actions:
            poll.register(descriptor, _READABLE)
        while not self._leaving:
            for descriptor, _ in poll.poll():
                actions[descriptor]()

    def _leave(self) -> None:
        self._leaving = True

    def _hear_signals(self) -> None:
        numbers = self._alarm.recv(4096)
        self._leaving = self._leaving or signal.SIGTERM in numbers
        self._world.bury_dead()

    def _answer(self) -> None:
        stream, _ = self._door.accept()
        with stream:
            stream.settimeout(_CLIENT_S)
            try:
                reply = self._reply(control.receive(stream))
                control.send(stream, reply.model_dump_json())
            except (OSError, LabError):
                traceback.print_exc()

    def _reply(self, data: bytes) -> Reply:
        try:
            self._carry_out(REQUEST.validate_json(data))
        except LabError as error:
            return Reply(error=str(error))
        except (OSError, ValueError) as error:
            traceback.print_exc()
            return Reply(error=str(error))
        return Reply(nodes=self._world.statuses())

    def _carry_out(self, request: Request) -> None:
        world = self._world
        match request:
            case Describe():
                pass
            case Down():
                world.destroy()
                self._leave()
            case Crash(node=node):
                world.crash(node)
            case Boot(node=node):
                world.boot(node)
            case Freeze(node=node, deep=deep):
                world.freeze(node, deep=deep)
            case Thaw(node=node):
                world.thaw(node)
            case Lose():
                world.lose(request)
            case FillDisk(node=node):
                world.fill_disk(node)
            case FreeDisk(node=node):
                world.free_disk(node)


def _signals_as_descriptor(*numbers: signal.Signals) -> socket.socket:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return ours


def _keep(folder: LabDir, lock: int, announce: Callable[[str], None]) -> None:
    spec = LabSpec.model_validate_json(folder.spec.read_text())
    owner = os.pidfd_open(spec.owner_pid) if spec.owner_pid else None
    os.write(lock, str(os.getpid()).encode())
    world = World(spec, folder)
    try:
        world.build()
        keeper = Keeper(world, folder, owner)
        announce(UP)
        keeper.serve()
    finally:
        world.destroy()
        state.release(folder)


def main() -> None:
    """Arguments: the lab's folder, the descriptor of its lock, the descriptor to say UP (or what failed) on."""
    folder, lock, ready = LabDir(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    if os.fork() != 0:
        os._exit(0)
    kernel.name_process("lab-keeper")
    os.set_inheritable(lock, False)
    with os.fdopen(ready, "w") as starter:

        def announce(text: str) -> None:
            if not starter.closed:
                starter.write(text)
                starter.close()

        os.set_inheritable(ready, False)
        try:
            _keep(folder, lock, announce)
        except (LabError, OSError) as error:
            traceback.print_exc()
            announce(str(error))
            sys.exit(1)


if __name__ == "__main__":
    main()
