"""What is refused: attacks, what is too large, and what is none of the formats."""

from __future__ import annotations

import pytest

from safekit.importing import convert
from safekit.importing.source import MAX_BYTES
from safekit_sdk import ConfigError

from .kit import converted
from .samples import MIRROR

LAUGHS = '<!DOCTYPE safe [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>\n<safe><service mode="mirror"/>&b;</safe>'
OUTSIDE = (
    '<!DOCTYPE safe [\n<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<safe><service mode="mirror" boot="&x;"/></safe>'
)


def refusal(data: bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        convert(data, "source")
    return caught.value


@pytest.mark.parametrize(
    ("data", "words", "where"),
    [
        (LAUGHS.encode(), "entities are not read", "source:1:17"),
        (OUTSIDE.encode(), "entities are not read", "source:2:1"),
        (LAUGHS.encode("utf-16"), "entities are not read", "source:1:17"),
        (
            b'<!DOCTYPE safe [<!ATTLIST service boot CDATA "on">]><safe><service/></safe>',
            "cannot be read|declarations",
            "source:1",
        ),
        (b"<safe><service></safe>", "this is not XML", "source:1:18"),
        (b"<safe>" * 100, "", "source:1:"),
        (b"x" * (MAX_BYTES + 1), "the limit is", "source:1:1"),
        (b"<safe>\n\xff</safe>", "this is not text in utf-8", "source:2:1"),
        (b"vrrp_instance a {\n\0}\n", "NUL", "source:2:1"),
        (b'<?xml version="1.0" encoding="utf-7"?><safe/>', "'utf-7' is not read", "source:1:1"),
        (b"", "neither", "source:1:1"),
        (b"hello world", "neither", "source:1:1"),
        (b"<html/>", "neither", "source:1:1"),
        (b"<cib/>", "no <resources>", "source:1:1"),
        (b"<safe>" + b"<a>" * 70 + b"<service/>" + b"</a>" * 70 + b"</safe>", "nested deeper", "source:1:"),
    ],
)
def test_it_is_refused_with_its_place(data: bytes, words: str, where: str) -> None:
    error = refusal(data)
    assert error.where.startswith(where), error
    assert any(word in error.message for word in words.split("|")), error


def test_a_plain_document_type_is_none_of_that() -> None:
    assert converted(MIRROR).drafts


def test_every_encoding_that_is_declared_gives_the_same() -> None:
    text = MIRROR.replace("orders", "Aufträge").replace("iso-8859-1", "{}")
    contents = [
        convert(text.format(name).encode(code), "s").drafts[0].content
        for name, code in (
            ("UTF-8", "utf-8-sig"),
            ("ISO-8859-1", "latin-1"),
            ("utf-16", "utf-16"),
            ("windows-1252", "cp1252"),
        )
    ]
    assert contents[0]["variables"]["DB_NAME"] == "Aufträge"
    assert all(content == contents[0] for content in contents)


def test_what_would_command_a_terminal_is_shown_as_a_mark() -> None:
    conversion = converted("vrrp_script a {\n script \x1b[2Jx\n}\n")
    assert "\x1b" not in "".join(finding.what for finding in conversion.findings)


def test_windows_line_endings_keep_the_lines() -> None:
    conversion = convert(MIRROR.replace("\n", "\r\n").encode(), "s")
    assert [finding.place for finding in conversion.findings] == [
        finding.place for finding in converted(MIRROR).findings
    ]
