"""What is handed to others has no secret in it, in whatever form it is written, and still says what it said."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safekit.snapshot.redaction import REMOVED, WORDS, Redactor

SECRET = 'h"un\\ter 2/ü!'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_known_secret_is_taken_out_in_whatever_form_it_is_written(form: str) -> None:
    found = Redactor([SECRET]).text(f"before {form} after")
    assert REMOVED in found
    assert form.strip('"=') not in found
    assert found.startswith("before ")
    assert found.endswith(" after")


@pytest.mark.parametrize(
    "line",
    [
        "  password: XYZZY99",
        '  db_password: "XYZZY99"',
        "PGPASSWORD=XYZZY99",
        "command: [psql, --password=XYZZY99]",
        'command: [mysql, "--password", "XYZZY99"]',
        "mysql --password XYZZY99 -e 1",
        '{"api_key": "XYZZY99", "n": 1}',
        '{"body": "{\\"token\\": \\"XYZZY99\\"}"}',
        "url: https://user:XYZZY99@example.net/x",
        "Authorization: Bearer XYZZY99abcdef",
        "-----BEGIN PRIVATE KEY-----\nXYZZY99\n-----END PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\nXYZZY99 and no end",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(line: str) -> None:
    assert "XYZZY99" not in Redactor([]).text(line)


@pytest.mark.parametrize(
    "line",
    [
        'token: "file:/etc/safekit/witness.token"',
        "password: env:DB_PASSWORD",
        "password_file: /etc/secret",
        "token_ttl: 600",
        "passwords: 3",
        "the peer passed; the compass points north",
        "https://example.net:8080/path@2",
    ],
)
def test_where_a_secret_is_and_what_it_is_like_stays(line: str) -> None:
    assert Redactor([]).text(line) == line


def test_of_plain_data_texts_are_looked_at_and_numbers_stay() -> None:
    redactor = Redactor(["12345678", "node1", "mirror"], public=["node1"])
    given = {
        "pid": 12345678,
        "why": "12345678 is wrong",
        "node": "node1",
        "kind": "mirror",
        "list": [{"password": "x"}],
    }
    assert redactor.value(given) == {
        "pid": 12345678,
        "why": f"{REMOVED} is wrong",
        "node": "node1",
        "kind": "mirror",
        "list": [{"password": REMOVED}],
    }


def test_a_document_stays_a_document() -> None:
    body = json.dumps({"line": f"say {SECRET}", "at_s": float("inf")})
    found = Redactor([SECRET]).document(body)
    assert json.loads(found) == {"line": f"say {REMOVED}", "at_s": float("inf")}
    assert Redactor([SECRET]).document('{"a": 1}') == '{"a": 1}'


@given(st.text(min_size=4).filter(lambda text: text not in {*WORDS, REMOVED}), st.text(), st.text())
def test_no_known_secret_is_ever_left(secret: str, before: str, after: str) -> None:
    parts = Redactor([secret]).text(f"{before}{secret}{after}").split(REMOVED)
    assert len(parts) > 1
    assert not any(secret in part for part in parts)
