"""The process: one loop over the network, the operator's socket and signals."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

from safekit_sdk import ConfigError
from safekit_witness import privileges
from safekit_witness.control import Ask, ControlSocket
from safekit_witness.directory import Directory
from safekit_witness.limits import MemoryLimit
from safekit_witness.service import Service
from safekit_witness.store import Store
from safekit_witness.wire import Listener

log = logging.getLogger("safekit-witness")
BATCH: Final = 64
"""Requests that share one write to the disk."""
LOOK_S: Final = 0.25
"""How often the memory is looked at."""
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Server:
    def __init__(self, directory: Directory) -> None:
        identity = directory.identity()
        log.info("runs as %s", privileges.drop(directory.path))
        self._store = Store(directory.store_path)
        self._service = Service(self._store)
        self._listener = Listener(identity.secret, identity.address, identity.port, self._service.admits)
        self._control = ControlSocket(directory.control_path, self._perform)
        self._listener.watch(self._control.fileno())
        self._stopping = False
        self._looked_s = time.monotonic()
        self._memory = MemoryLimit()
        log.info("listens on %s port %d", identity.address, identity.port)

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        wakeup, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker)
        self._listener.watch(wakeup)
        while not self._stopping:
            if self._control.fileno() in self._listener.wait(LOOK_S):
                self._control.serve()
            self._serve()
            self._look_at_memory()
        self._close()
        log.info("ended")

    def _stop(self, *_: Any) -> None:
        self._stopping = True

    def _close(self) -> None:
        self._control.close()
        self._listener.close()
        self._store.close()

    def _serve(self) -> None:
        received = self._listener.receive(BATCH)
        if not received:
            return
        answers = self._service.answer([(one.key, one.data) for one in received])
        for one, data in zip(received, answers, strict=True):
            if data is not None:
                self._listener.send(one.route, data)

    def _perform(self, ask: Ask) -> Any:
        if ask.op == "show":
            return [one.model_dump() for one in self._service.show(running=True)]
        if ask.cluster is None or (ask.op == "admit" and ask.public_key is None):
            raise ConfigError("the cluster or its key is missing")
        if ask.op == "admit":
            self._service.admit(ask.cluster, ask.public_key or "")
        else:
            self._service.expel(ask.cluster, forget=ask.forget)
            self._listener.drop_all()
        return None

    def _look_at_memory(self) -> None:
        now_s = time.monotonic()
        if now_s < self._looked_s + LOOK_S:
            return
        self._looked_s = now_s
        if self._memory.is_over(used := memory_bytes()):
            log.error("%d MiB are in use: all connections are dropped", used >> 20)
            self._listener.drop_all()
            ctypes.CDLL(None).malloc_trim(0)
            self._memory.settle(memory_bytes())


def memory_bytes() -> int:
    """Resident, of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
