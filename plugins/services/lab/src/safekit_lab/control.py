"""One request and one reply over the keeper's unix socket: four bytes of length, then JSON."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from .error import LabError
from .messages import MAX_MESSAGE_BYTES, Reply, Request
from .state import LabDir

_LENGTH = struct.Struct(">I")
_REPLY_S = 60.0


def send(stream: socket.socket, text: str) -> None:
    data = text.encode()
    stream.sendall(_LENGTH.pack(len(data)) + data)


def receive(stream: socket.socket) -> bytes:
    """LabError for a message that is too long or breaks off."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > MAX_MESSAGE_BYTES:
        raise LabError(f"a control message of {length} bytes; the limit is {MAX_MESSAGE_BYTES}")
    return _exactly(stream, length)


def ask(lab: LabDir, request: Request) -> Reply:
    """LabError when the keeper refuses, or is gone."""
    with socket.socket(socket.AF_UNIX) as stream, _short_path(lab) as path:
        stream.settimeout(_REPLY_S)
        try:
            stream.connect(path)
            send(stream, request.model_dump_json())
            reply = Reply.model_validate_json(receive(stream))
        except OSError as error:
            raise LabError(f"the keeper of lab {lab.name} does not answer: {error}; see {lab.log}") from error
    if reply.error:
        raise LabError(reply.error)
    return reply


def listen(lab: LabDir) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    with _short_path(lab) as path:
        stream.bind(path)
    lab.socket.chmod(0o600)
    stream.listen(16)
    return stream


@contextmanager
def _short_path(lab: LabDir) -> Iterator[str]:
    """The socket's path through a descriptor of its folder: the kernel takes 107 bytes at most."""
    folder = os.open(lab.path, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{lab.socket.name}"
    finally:
        os.close(folder)


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            raise LabError("the other end closed the control connection")
        data += part
    return bytes(data)
