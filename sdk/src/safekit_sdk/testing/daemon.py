"""The control socket of a safekitd whose answers a test gives: for tests of services that stand beside it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safekit_sdk.control import CALL, MAX_CALL_BYTES, Answer, decode, encode, error_body, frame
from safekit_sdk.control.frames import HEAD, length

Perform = Callable[[str, dict[str, Any]], Any]
"""Operation and arguments to the result; what it raises is answered as safekitd would."""


@contextmanager
def control_socket(path: Path, perform: Perform) -> Iterator[None]:
    """Answers at `path`, one call after the other, until the end of the block."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen(64)
        thread = threading.Thread(target=_serve, args=(server, perform))
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink()


def _serve(server: socket.socket, perform: Perform) -> None:
    while True:
        try:
            link, _ = server.accept()
        except OSError:
            return
        with link, link.makefile("rb") as said:
            head = said.read(HEAD.size)
            if len(head) == HEAD.size:
                call = decode(CALL, said.read(length(head)), MAX_CALL_BYTES)
                link.sendall(frame(encode(_answer(call.id, call.op, call.args, perform))))


def _answer(number: str, op: str, args: dict[str, Any], perform: Perform) -> Answer:
    try:
        return Answer(id=number, result=perform(op, args))
    except Exception as error:  # what the daemon does, too
        return Answer(id=number, error=error_body(error))
