"""A DNS question, and the answer to it out of bytes that anyone may have sent (RFC 1035, section 4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from safekit_checker_dns.names import GarbageError, decode, encode
from safekit_checker_dns.records import TYPES, rdata_text

RECORDS_MAX = 512
"""Records of an answer that are read; one with more is garbage."""
CHAIN_MAX = 16
"""Aliases that are followed."""
_HEADER = struct.Struct("!HHHHHH")
_FIXED = struct.Struct("!HHIH")
_RESPONSE, _OPCODE, _CUT_OFF, _RECURSE, _CODE = 0x8000, 0x7800, 0x0200, 0x0100, 0x000F
_INTERNET = 1
CODES = {
    1: "FORMERR, it cannot read the question",
    2: "SERVFAIL, it cannot find out",
    3: "NXDOMAIN, there is no such name",
    4: "NOTIMP, it does not do this",
    5: "REFUSED, it may not answer this node",
}


class CutOffError(Exception):
    """The answer did not fit; it is to be asked for over TCP."""


class OtherError(GarbageError):
    """Not to this question: late, or from someone who guesses."""


@dataclass(frozen=True, slots=True)
class Question:
    ident: int
    name: str
    """Absolute and in lower case."""
    record: str
    recursion: bool

    @property
    def _body(self) -> bytes:
        return encode(self.name) + struct.pack("!HH", TYPES[self.record], _INTERNET)

    def encoded(self) -> bytes:
        return _HEADER.pack(self.ident, _RECURSE if self.recursion else 0, 1, 0, 0, 0) + self._body


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    values: tuple[str, ...]
    """What the name has of the type asked for, aliases followed."""
    aliases: tuple[str, ...]

    @property
    def trouble(self) -> str:
        """Empty when the server could answer."""
        return CODES.get(self.code, f"the error code {self.code}") if self.code else ""


def read(message: bytes, question: Question) -> Answer:
    """GarbageError or OtherError for what is no answer to the question, CutOffError for one that did not fit."""
    if len(message) < _HEADER.size:
        raise GarbageError(f"it has {len(message)} bytes, less than a header")
    ident, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
    if ident != question.ident:
        raise OtherError("it has another number than the question")
    if not flags & _RESPONSE or flags & _OPCODE:
        raise GarbageError("it is no answer to a query")
    code = flags & _CODE
    if code and questions == 0:  # a server that could not read the question has none to repeat
        return Answer(code, (), ())
    offset = _after_question(message, question, questions)
    if flags & _CUT_OFF:
        raise CutOffError
    if answers > RECORDS_MAX:
        raise GarbageError(f"it has {answers} records, more than {RECORDS_MAX}")
    if code:
        return Answer(code, (), ())
    return _followed(list(_records(message, offset, answers)), question)


def _after_question(message: bytes, question: Question, count: int) -> int:
    if count != 1:
        raise GarbageError(f"it repeats {count} questions")
    name, offset = decode(message, _HEADER.size)
    if offset + 4 > len(message):
        raise GarbageError("it ends within the question")
    if name != question.name or struct.unpack_from("!HH", message, offset) != (TYPES[question.record], _INTERNET):
        raise OtherError(f"it answers another question, for {name[:60]}")
    return offset + 4


def _records(message: bytes, offset: int, count: int) -> Iterator[tuple[str, str, str]]:
    """Owner, type and value of each record that can matter."""
    kinds = {number: name for name, number in TYPES.items()}
    for _ in range(count):
        owner, offset = decode(message, offset)
        if offset + _FIXED.size > len(message):
            raise GarbageError("it ends within a record")
        kind, network, _, size = _FIXED.unpack_from(message, offset)
        offset += _FIXED.size
        if offset + size > len(message):
            raise GarbageError("it ends within a record's data")
        if kind in kinds and network == _INTERNET:
            yield owner, kinds[kind], rdata_text(kinds[kind], message, offset, size)
        offset += size


def _followed(records: list[tuple[str, str, str]], question: Question) -> Answer:
    """Only what belongs to the name, or to an alias of it, counts."""
    name = question.name
    aliases: list[str] = []
    for _ in range(CHAIN_MAX):
        values = tuple(value for owner, kind, value in records if (owner, kind) == (name, question.record))
        alias = next((value for owner, kind, value in records if (owner, kind) == (name, "CNAME")), None)
        if values or alias is None:
            return Answer(0, values, tuple(aliases))
        name = alias
        aliases.append(alias)
    raise GarbageError(f"more than {CHAIN_MAX} aliases lead on from {question.name}")
