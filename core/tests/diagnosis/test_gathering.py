"""What is read of a machine, its history and its log before anything is said about it."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from safekit.bus import keys
from safekit.config.cluster import Cluster
from safekit.daemon.aftermath import last_words, lock_holder
from safekit.daemon.certificates import certificates, not_after
from safekit.daemon.machine import machine_facts
from safekit.daemon.past import gaps, losses, read_past
from safekit.daemon.recorder import Recorder
from safekit.engine import events, new_node, step
from safekit.engine.actions import Explain
from safekit.engine.reports import Heartbeat
from safekit.engine.spec import MembershipSpec
from safekit.journal import History
from safekit.settings import Settings

LOST_S = 1.0


def decision(text: str, rule: str, facts: dict[str, str], severity: str = "info", module: str = "") -> Explain:
    return Explain(module, text, rule, facts, severity=severity)


def beat(sequence: int, incarnation: int = 1) -> events.HeartbeatHeard:
    return events.HeartbeatHeard("lan", Heartbeat("b", incarnation, sequence))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.db")


def test_pauses_losses_and_alarms_are_read_from_what_a_daemon_records(history: History, tmp_path: Path) -> None:
    recorder = Recorder(history, 5, lambda decision: None, lambda: None)
    start_s = time.monotonic() - 60.0
    node, _ = step(new_node("a"), events.Configured(MembershipSpec("a", ("b",), ("lan",)), ()), start_s)
    for number, offset_s in enumerate((0.0, 0.1, 0.2, 0.8, 0.9, 1.0, 5.0, 5.1, 6.5)):
        before, now_s = node, start_s + offset_s
        node, _ = step(before, beat(number), now_s)
        recorder.record(before, beat(number), node, now_s, changed=offset_s in (0.0, 0.9))
    recorder.decided(decision("b is lost: silent on every network", "peer-lost", {"b": "incarnation 1"}), start_s + 2)
    recorder.decided(decision("b is heard on lan", "peer-heard", {"b": "incarnation 1"}), start_s + 5)
    recorder.decided(decision("it is stuck", "stuck", {}, "alarm", "web"), start_s + 6)
    recorder.said("web", "alarm", "out of memory")
    history.flush()
    past = read_past(history, tmp_path / "history.db", 5, LOST_S)
    history.close()
    assert past.losses == {"b": 1}
    assert past.gaps_s["b"] == pytest.approx(0.6, abs=0.002)
    assert [(alarm.module, alarm.text, alarm.count) for alarm in past.alarms] == [
        ("web", "out of memory", 1),
        ("web", "it is stuck", 1),
    ]


def test_a_restart_of_the_peer_is_neither_a_pause_nor_a_loss_that_was_none() -> None:
    assert gaps([(0.0, "b", 1), (0.1, "b", 0), (0.7, "b", 2), (0.8, "b", 0)], LOST_S) == {"b": pytest.approx(0.1)}


def test_a_silence_as_long_as_the_loss_time_is_no_pause() -> None:
    assert gaps([(0.0, "b", 0), (0.1, "b", 0), (1.1, "b", 0)], LOST_S) == {"b": pytest.approx(0.1)}


def test_a_node_that_came_back_restarted_was_lost_for_good_reason(history: History, tmp_path: Path) -> None:
    recorder = Recorder(history, 5, lambda decision: None, lambda: None)
    recorder.decided(decision("b is lost: silent", "peer-lost", {"b": "incarnation 1"}), time.monotonic())
    recorder.decided(decision("b is heard on lan", "peer-heard", {"b": "incarnation 2"}), time.monotonic())
    history.flush()
    past = read_past(history, tmp_path / "history.db", 5, LOST_S)
    history.close()
    assert past.losses == {}
    assert losses([]) == {}


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from("bc"), st.integers(0, 3)), max_size=60))
def test_no_pause_is_as_long_as_the_loss_time(heard: list[tuple[float, str, int]]) -> None:
    assert all(0 <= gap_s < LOST_S for gap_s in gaps(sorted(heard), LOST_S).values())


def certificate(days: float) -> tuple[str, float]:
    """As PEM, and when it ends."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    end = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=days)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=20_000))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), end.timestamp()


@pytest.mark.parametrize("days", [-400.0, 3.0, 9000.0, 20_000.0])
def test_the_end_of_a_certificate_is_read_in_both_forms_of_time(days: float, tmp_path: Path) -> None:
    """From 2050 on it is a GeneralizedTime."""
    pem, end = certificate(days)
    path = tmp_path / "a.pem"
    path.write_text(f"some words\n{certificate(30_000)[0]}{pem}")
    settings = {"tls": {"files": [f"file:{path}"], "other": str(path), "name": "/does/not/exist", "count": 3}}
    (found,) = certificates("web", [settings])
    assert (found.path, found.module, found.expires) == (str(path), "web", end)


def test_what_is_no_certificate_is_passed_over(tmp_path: Path) -> None:
    for name, text in {
        "key": "-----BEGIN PRIVATE KEY-----\n",
        "cut": certificate(3)[0][:200],
        "bin": "\x80\xff",
    }.items():
        (tmp_path / name).write_text(text)
        assert list(certificates("web", [str(tmp_path / name)])) == []
    assert list(certificates("web", [str(tmp_path), "relative", "/dev/zero"])) == []


@given(st.binary(max_size=300))
def test_bytes_that_are_no_certificate_are_a_value_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        not_after(data)


def lines(*entries: object) -> str:
    return "".join(f"{entry if isinstance(entry, str) else json.dumps(entry)}\n" for entry in entries)


UP = {"event": "safekitd runs", "level": "info", "process": "safekitd"}
BAD = {"event": "the node's state is not on disk", "level": "error", "error": "full", "process": "safekitd"}
HOST = {"event": "stopping everything by force", "level": "error", "process": "safekit-host"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (lines(UP, BAD), "the node's state is not on disk: full"),
        (lines(BAD, UP), ""),
        (lines(UP, HOST), ""),
        (
            lines(UP, "safekitd: the node key is open to others", "  to do: chmod"),
            "safekitd: the node key is open to others",
        ),
        (lines(UP, "Traceback (most recent call last):", '  File "x"', "OSError: no room"), "OSError: no room"),
        (lines(UP, "[1, 2]", "null", '{"level": 3}', "\x00\ufffd"), ""),
        ("", ""),
    ],
)
def test_the_last_words_are_those_since_the_last_daemon_came_up(text: str, words: str, tmp_path: Path) -> None:
    log = tmp_path / "safekitd.log"
    log.write_text(text)
    assert last_words(log) == words
    assert last_words(tmp_path / "none") == ""


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_holder(path) == 0
    path.write_text(f"{os.getpid()}\n")
    assert lock_holder(path) == 0
    with path.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert lock_holder(path) == os.getpid()
    assert lock_holder(path) == 0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a node that is set up."""
    made = Settings(etc=tmp_path / "etc", var=tmp_path / "var", run=tmp_path / "run", log=tmp_path / "log")
    pair = keys.generate()
    keys.save(pair, made.key_file)
    Cluster.new("c", "a", {"": "10.0.0.1"}, pair.public).save(made.cluster_file)
    return made


def troubles(settings: Settings) -> str:
    return "; ".join(file.trouble for file in machine_facts(settings, []).files)


def test_a_machine_that_is_well_has_its_disks_and_packages_and_no_trouble(settings: Settings) -> None:
    facts = machine_facts(settings, [])
    assert facts.files == ()
    assert facts.plugins["safekit.checkers tcp"].startswith("safekit-checker-tcp ")
    assert len(facts.disks) == 1
    assert 0 < facts.disks[0].free_bytes <= facts.disks[0].total_bytes


def test_files_that_would_keep_a_daemon_from_starting_are_told(settings: Settings) -> None:
    settings.key_file.chmod(0o644)
    assert "open to others" in troubles(settings)
    settings.key_file.chmod(0o600)
    settings.cluster_file.write_text("name: [")
    assert "cluster.yaml" in troubles(settings)
    settings.cluster_file.unlink()
    assert "in no cluster" in troubles(settings)
    settings.key_file.unlink()
    keys.save(keys.generate(), settings.key_file)
    Cluster.new("c", "a", {"": "10.0.0.1"}, keys.generate().public).save(settings.cluster_file)
    assert "this node's key is not in it" in troubles(settings)


def test_a_folder_that_others_can_write_is_told(settings: Settings) -> None:
    settings.etc.chmod(0o777)
    assert "can be written by others" in troubles(settings)
