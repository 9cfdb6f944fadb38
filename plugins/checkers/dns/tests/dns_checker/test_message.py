"""What is read out of bytes that anyone may have sent."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from safekit_checker_dns.message import Answer, CutOffError, Question, read
from safekit_checker_dns.names import GarbageError

from .server import answer, name, record

HERE = b"\xc0\x0c"
"""A pointer to the name in the question."""
ASKED = Question(4711, "www.example.org.", "A", recursion=True)

GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "less than a header": lambda query: b"\0\1\2",
    "another number": lambda query: answer(bytes([query[0] ^ 1]) + query[1:]),
    "no answer to a query": lambda query: query,
    "0 questions": lambda query: query[:2] + b"\x80\0" + bytes(8),
    "answers another question": lambda query: answer(query[:12] + name("evil.example") + b"\0\1\0\1"),
    "question, for www": lambda query: answer(query[:-3] + b"\x1c\0\1"),
    "ends within the question": lambda query: answer(query)[:-2],
    "ends within a name": lambda query: answer(query, count=1),
    "ends within a record": lambda query: answer(query, HERE + b"\0\1"),
    "within a record's data": lambda query: answer(query, record(HERE, "A", b"\1\2\3\4", size=5)),
    "address in it has 3": lambda query: answer(query, record(HERE, "A", b"\1\2\3")),
    "points forward": lambda query: answer(query, record(b"\xc0\xff", "A", b"\1\2\3\4")),
    "name in it points": lambda query: answer(query, record(bytes([0xC0, len(query)]), "A", b"\1\2\3\4")),
    "no known form": lambda query: answer(query, record(b"\x80a\0", "A", b"\1\2\3\4")),
    "name in it does not end": lambda query: answer(query, record(b"\x3f" + b"a" * 63 + b"\x3e", "A", b"\1\2\3\4")),
    "does not end": lambda query: answer(query, record((b"\x3f" + b"a" * 63) * 4 + b"\0", "A", b"\1\2\3\4")),
    "too short": lambda query: answer(query, record(HERE, "MX", b"\0")),
    "where it says": lambda query: answer(query, record(HERE, "CNAME", name("a.example") + b"\0")),
    "type SOA does not end": lambda query: answer(query, record(HERE, "SOA", b"\0\0" + bytes(19))),
    "text in it": lambda query: answer(query, record(HERE, "TXT", b"\x05abc")),
    "more than 512": lambda query: answer(query, count=65535),
    "aliases lead on": lambda query: answer(query, record(HERE, "CNAME", name("www.example.org"))),
}


@pytest.mark.parametrize("told", GARBAGE)
def test_what_is_no_answer_is_refused_and_says_why(told: str) -> None:
    with pytest.raises(GarbageError, match=told):
        read(GARBAGE[told](ASKED.encoded()), ASKED)


def test_a_name_is_as_long_as_names_may_be() -> None:
    """Four labels of which the last has 61 bytes make 255 on the wire."""
    longest = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0"
    query = ASKED.encoded()
    assert read(answer(query, record(longest, "A", bytes(4))), ASKED) == Answer(0, (), ())


def test_what_a_name_holds_is_printable() -> None:
    alias = record(HERE, "CNAME", b"\4\x1b.\\A\0")
    assert read(answer(ASKED.encoded(), alias), ASKED).aliases == ("\\027\\046\\092a.",)


def test_no_bytes_whatever_make_it_fail() -> None:
    """Good answers with bytes changed and cut off are read, or refused as what they are."""
    chance = random.Random(6)
    outcomes = {_outcome(chance) for _ in range(20_000)}
    assert outcomes == {"read", "cut off", "garbage"}


RECORDS = [
    record(HERE, "CNAME", name("a.example")),
    record(name("a.example"), "A", b"\x0a\0\0\1"),
    record(b"\xc0\x10", "SOA", name("ns.example") + b"\xc0\x0c" + bytes(20)),
    record(HERE, "TXT", b"\3abc\4defg"),
    record(HERE, "MX", b"\0\x0a\xc0\x10"),
]


def _outcome(chance: random.Random) -> str:
    packet = bytearray(answer(ASKED.encoded(), *chance.sample(RECORDS, 3)))
    for _ in range(chance.randint(1, 6)):
        packet[chance.randrange(2, len(packet))] = chance.choice([0, 0x82, 0xC0, 0x3F, 0xFF, chance.randrange(256)])
    try:
        assert all(map(str.isprintable, read(bytes(packet[: chance.randint(2, 2 * len(packet))]), ASKED).values))
    except GarbageError:
        return "garbage"
    except CutOffError:
        return "cut off"
    return "read"
