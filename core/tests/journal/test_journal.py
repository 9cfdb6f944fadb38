"""Facts are on disk or an error; history never holds anything up."""

from __future__ import annotations

import ctypes
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safekit.engine import events
from safekit.engine.actions import Explain
from safekit.journal import Entry, FactStore, History, Query
from safekit.journal.codec import dump_decision, dump_event, load_decision, load_event
from safekit_sdk import ConfigError


def entry(number: int, module: str = "web", kind: str = "log") -> Entry:
    return Entry(1, float(number), 1000.0 + number, kind, module, "info", f'{{"line": "{number}"}}')


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    made = History(tmp_path / "history.db", keep_rows=100_000)
    yield made
    made.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", bytes(place), b"tmpfs", 0, b"size=1m") != 0:
        raise OSError(ctypes.get_errno(), "mount")
    yield place
    if libc.umount2(bytes(place), 2) != 0:
        raise OSError(ctypes.get_errno(), "umount")


# -- facts


def test_a_fact_is_there_after_the_process_was_killed(tmp_path: Path) -> None:
    """Killed at the instant that `save` has returned, a hundred times over."""
    program = (
        "import sys; from pathlib import Path; from safekit.journal import FactStore\n"
        "store = FactStore(Path(sys.argv[1]))\n"
        "for n in range(100_000):\n"
        "    store.save('epoch', str(n).encode()); print(n, flush=True)\n"
    )
    path = tmp_path / "facts.db"
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(100)]
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.read().splitlines()
        process.stdout.close()
        process.wait(10)
        store = FactStore(path)
        kept = int(store.load("epoch") or b"-1")
        store.close()
        assert int(said[-1]) <= kept <= int(said[-1]) + 1


def test_a_full_disk_is_told_and_the_earlier_fact_holds(small_disk: Path) -> None:
    store = FactStore(small_disk / "facts.db")
    store.save("epoch", b"1")
    with pytest.raises(OSError, match="cannot be written"):
        store.save("epoch", b"2" * (2 << 20))
    assert store.load("epoch") == b"1"
    store.save("epoch", b"3")
    assert store.load("epoch") == b"3"
    store.close()


def test_a_damaged_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "facts.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(ConfigError, match=r"facts\.db cannot be opened") as told:
        FactStore(tmp_path / "facts.db")
    assert "move it away" in told.value.hint


def test_the_facts_are_for_root_only(tmp_path: Path) -> None:
    FactStore(tmp_path / "var" / "facts.db").close()
    assert (tmp_path / "var" / "facts.db").stat().st_mode & 0o777 == 0o600


# -- history


def test_what_was_appended_is_found_by_module_kind_and_place(history: History) -> None:
    for number in range(20):
        history.append(entry(number, "web" if number % 2 else "shop", "log" if number < 10 else "decision"))
    assert history.flush()
    assert [found.mono for found in history.query(Query("web", ("decision",)))] == [11, 13, 15, 17, 19]
    assert [found.mono for found in history.query(Query(last=2))] == [18, 19]
    third = history.query(Query())[2]
    assert [found.mono for found in history.query(Query(after_id=third.id, last=100))][:2] == [3, 4]
    assert [found.mono for found in history.query(Query(since=1018.0))] == [18, 19]


def test_a_flood_is_bounded_in_rows(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db", keep_rows=5_000)
    for number in range(15_000):
        history.append(entry(number))
        if number % 1000 == 0:
            history.flush(30.0)
    assert history.flush(30.0)
    history.close()
    with sqlite3.connect(tmp_path / "history.db") as connection:
        (rows,) = connection.execute("SELECT count(*) FROM entries").fetchone()
    connection.close()
    assert rows <= 10_500
    assert history.dropped == 0


def test_what_is_old_goes_when_it_is_tidied(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db", keep_s=3600.0)
    history.append(Entry(1, 1.0, time.time() - 7200, "log", "web", "info", "{}"))
    history.append(Entry(1, 2.0, time.time(), "log", "web", "info", "{}"))
    history.flush()
    history.tidy()
    assert [found.mono for found in history.query(Query())] == [2.0]
    history.close()


def test_a_full_disk_costs_history_is_an_alarm_and_ends(small_disk: Path) -> None:
    history = History(small_disk / "history.db")
    history.append(entry(1))
    assert history.flush()
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    for number in range(2000):
        history.append(entry(number))
    history.flush()
    assert "cannot be written" in history.trouble
    assert history.dropped > 0
    assert history.dropped_lately
    time.sleep(0.5)  # nothing to write meanwhile: the trouble is not over for that
    assert history.trouble
    ballast.unlink()
    history.append(entry(3000))
    history.flush()
    assert history.trouble == ""
    assert history.query(Query())[-1].mono == 3000
    history.close()


def test_a_damaged_history_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"garbage" * 1000)
    history = History(tmp_path / "history.db")
    history.append(entry(1))
    history.flush()
    history.append(entry(2))
    assert history.flush()
    assert [found.mono for found in history.query(Query())] == [2]
    assert (tmp_path / "damaged-history.db").read_bytes() == b"garbage" * 1000
    history.close()


def test_a_queue_that_is_full_drops_and_never_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safekit.journal.history.QUEUE_ENTRIES", 10)
    monkeypatch.setattr(History, "_write_all", lambda self: None)
    history = History(tmp_path / "history.db")
    for number in range(30):
        history.append(entry(number))
    assert history.dropped == 20


# -- the form of what is written

TEXT = st.text(max_size=30)
FACTS = st.dictionaries(TEXT, TEXT, max_size=3)
EVENTS = st.one_of(
    st.builds(events.HostReady, TEXT),
    st.builds(events.HostLost, TEXT, TEXT),
    st.builds(events.TimePassed),
    st.builds(events.VerdictChanged, TEXT, TEXT, TEXT, TEXT, FACTS),
    st.builds(events.ValueSet, TEXT, TEXT, TEXT, by=TEXT),
    st.builds(events.CommandGiven, TEXT, st.sampled_from(events.Command), force=st.booleans(), by=TEXT),
    st.builds(events.PipelineFinished, TEXT, st.integers(), st.booleans(), TEXT, TEXT, st.booleans()),
    st.builds(events.StorageFailed, TEXT),
)


@given(EVENTS)
def test_an_event_is_read_as_it_was_written(event: events.Event) -> None:
    assert load_event(*dump_event(event)) == event


@given(st.builds(Explain, TEXT, TEXT, TEXT, FACTS, st.tuples(TEXT, TEXT), TEXT, TEXT, TEXT))
def test_a_decision_is_read_as_it_was_written(decision: Explain) -> None:
    assert load_decision(dump_decision(decision)) == decision


def test_an_event_of_a_newer_version_is_named() -> None:
    with pytest.raises(ValueError, match="'Teleported' that this version does not know"):
        load_event("Teleported", "{}")
