"""Questions beside the replication: what the secondary has of a directory or a file at this position of the stream.

A frame of a kind of its own holds a List or Checksum, or the answer. The secondary answers in the order of the stream,
on the thread that applies it, so that the primary can compare with what it had itself when it asked."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final, TypeVar

from safekit_resource_rfs import wire
from safekit_resource_rfs.compare import Local, Pages
from safekit_resource_rfs.connection import Link
from safekit_resource_rfs.fields import refuse
from safekit_resource_rfs.messages import Checksum, Checksummed, List, Listed, Message

KIND: Final = 200
ANSWER_S: Final = 60.0
_HEADER: Final = struct.Struct("<IB")
Question = List | Checksum
Answer = Listed | Checksummed
Q = TypeVar("Q", List, Checksum)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question or an answer."""

    content: Any
    """List, Checksum, or the answer to one; from the right side, as the decoder has seen to."""


def encode(content: Question | Answer) -> bytes:
    inner = b"".join(wire.encode(content))
    return _HEADER.pack(len(inner) + 1, KIND) + inner


class Decoder(wire.Decoder):
    """Of what one side sends, its inquiries among it."""

    def __init__(self, *, from_primary: bool) -> None:
        super().__init__(from_primary=from_primary)
        self._inner = wire.Decoder(from_primary=from_primary)

    def _message(self, kind: int, payload: bytes) -> Message:
        if kind != KIND:
            return super()._message(kind, payload)
        found = self._inner.feed(payload)
        if len(found) != 1 or not isinstance(found[0], List | Checksum | Listed | Checksummed):
            refuse("an inquiry that holds something else")
        return Inquiry(found[0])  # type: ignore[return-value]


class Respondent:
    """The secondary's side."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._pages = Pages(local)

    def answer(self, question: Question) -> Answer:
        if isinstance(question, List):
            try:
                entries, last = self._pages.list(question.path, question.after, question.names)
            except OSError as error:
                return Listed(question.id, error.errno or 5, (), True)
            return Listed(question.id, 0, entries, last)
        try:
            found = self._local.checksums(question.path, question.offset, question.length)
        except OSError as error:
            return Checksummed(question.id, error.errno or 5, ())
        return Checksummed(question.id, 0, found)


class Inquirer:
    """The primary's side."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}

    def ask(self, link: Link, question: Question) -> asyncio.Future[Any]:
        """The answer comes from the position of the stream at which this is called. ConnectionError when it ends."""
        number = next(self._ids)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._open[number] = future
        future.add_done_callback(lambda _: self._open.pop(number, None))
        link.send(encode(replace(question, id=number)))
        return future

    def take(self, answer: Answer) -> None:
        future = self._open.pop(answer.id, None)
        if future and not future.done():
            future.set_result(answer)

    def end(self) -> None:
        for future in list(self._open.values()):
            if not future.done():
                future.set_exception(ConnectionError("the connection ended"))
