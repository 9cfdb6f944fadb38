"""A report says what was measured, and a change of it is found."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from safekit_rehearse.report import Outcome, Report, Signed, page, read

from safekit_sdk import ConfigError


def outcome(**changed: object) -> Outcome:
    given: dict[str, object] = {
        "drill": "swap",
        "says": "the nodes exchange their roles",
        "node": "node1",
        "begun": 10.0,
        "ended": 20.0,
        "done": "asked",
        "undone": 10.0,
        "promised_s": 2.0,
        "interruption_ms": 214.3,
        "requests": 100,
        "failed": 4,
        "errors": {"no answer in time": 4},
        "before": {"node1": "PRIM/Ready"},
        "after": {"node1": "SECOND/Ready"},
        "well": True,
    }
    return Outcome.model_validate(given | changed)


def report(*outcomes: Outcome, aborted: str = "") -> Report:
    return Report(
        module="web",
        kind="mirror",
        revision=3,
        cluster="<b>hospital</b>",
        nodes=("node1", "node2"),
        asker="node2",
        by="root",
        version="0.1.0",
        probe="http://10.0.0.1/",
        pace_ms=50.0,
        begun=10.0,
        ended=20.0,
        findings=({"severity": "warning", "name": "x", "what": "</script><script>alert(1)</script>"},),
        accepted=(),
        outcomes=outcomes,
        planned=("swap",),
        aborted=aborted,
    )


def signed(what: Report) -> Signed:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = key.sign(b"safekit report 1\n" + what.text().encode())
    return Signed(report=what, key=base64.b64encode(public).decode(), signature=base64.b64encode(signature).decode())


@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({}, True),
        ({"interruption_ms": 2000.1}, False),
        ({"interruption_ms": None, "well": False}, False),
        ({"promised_s": None, "interruption_ms": 9000.0}, True),
        ({"well": False}, False),
        ({"undone": None}, False),
        ({"trouble": "it said so"}, False),
    ],
)
def test_a_drill_is_good_when_the_promise_was_kept_and_nothing_is_left(changed: dict[str, object], good: bool) -> None:
    assert report(outcome(**changed)).good is good
    assert not report(outcome(), aborted="the operator ended it").good


@pytest.mark.parametrize("suffix", [".json", ".html"])
def test_a_report_is_read_back_and_its_signature_holds(tmp_path: Path, suffix: str) -> None:
    given = signed(report(outcome()))
    path = tmp_path / f"r{suffix}"
    path.write_text(given.json() if suffix == ".json" else page(given))
    found = read(path)
    assert found == given
    found.check()


@pytest.mark.parametrize("suffix", [".json", ".html"])
@pytest.mark.parametrize(("old", "new"), [("214.3", "114.3"), ('"well": true', '"well": false'), ("node2", "node9")])
def test_a_changed_figure_is_found(tmp_path: Path, suffix: str, old: str, new: str) -> None:
    given = signed(report(outcome()))
    path = tmp_path / f"r{suffix}"
    text = given.json() if suffix == ".json" else page(given)
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=r"changed|something else"):
        read(path).check()


def test_a_page_that_shows_something_else_than_is_signed_is_found(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    text = page(signed(report(outcome())))
    path.write_text(text.replace("<td>214 ms</td>", "<td>14 ms</td>"))
    with pytest.raises(ConfigError, match="something else"):
        read(path)


def test_what_comes_from_elsewhere_is_text_on_the_page_and_nothing_is_loaded() -> None:
    text = page(signed(report(outcome(trouble="<img src=x>"))))
    assert "<b>hospital" not in text
    assert "<img" not in text
    assert text.count("<script") == 1
    assert "http-equiv" not in text
    assert "<link" not in text


@pytest.mark.parametrize("text", ["", "{}", "no report", '<script type="application/json" id="report">\n{}\n</script>'])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r"
    path.write_text(text)
    with pytest.raises(ConfigError, match="no report"):
        read(path)


def test_a_signature_by_another_key_is_found() -> None:
    given = signed(report(outcome()))
    with pytest.raises(ConfigError, match="changed"):
        given.model_copy(update={"key": signed(report(outcome())).key}).check()
