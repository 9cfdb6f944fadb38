"""The durable files: what a crash may do to them, and what is never taken for nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safekit_resource_rfs.generations import Durable, Generation
from safekit_resource_rfs.marks import WHOLE, Mark, Place
from safekit_resource_rfs.storage import Storage

from safekit_sdk import ConfigError

DURABLE = Durable(Generation("ab" * 16, 7, ("cd" * 16,)), up_to_date=True, stable=3, cleared=2, boot="x")
MARKS = [Mark(5, Place(b"handle", 12, 3)), Mark(6, Place(b"other", 12, WHOLE)), Mark(1), Mark(0, None, True)]


def opened(folder: Path) -> Storage:
    storage = Storage(folder)
    storage.load()
    return storage


def filled(folder: Path) -> None:
    storage = opened(folder)
    storage.store(DURABLE)
    storage.append(MARKS[:2])
    storage.append(MARKS[2:])
    storage.close()


def test_a_new_folder_holds_nothing(tmp_path: Path) -> None:
    assert Storage(tmp_path / "new").load() == (Durable(), [])


def test_what_was_stored_is_there_again(tmp_path: Path) -> None:
    filled(tmp_path)
    assert Storage(tmp_path).load() == (DURABLE, MARKS)


def test_that_a_node_left_is_there_again_and_earlier_versions_read_all_others(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.load()
    storage.store(replace(DURABLE, left=True))
    assert storage.load()[0].left
    storage.store(DURABLE)
    assert "left" not in (tmp_path / "generation").read_text()


def test_replaced_marks_are_the_only_ones_and_others_follow(tmp_path: Path) -> None:
    filled(tmp_path)
    storage = opened(tmp_path)
    storage.replace(MARKS[:1])
    storage.append(MARKS[1:2])
    storage.close()
    assert Storage(tmp_path).load()[1] == MARKS[:2]


@given(st.integers(0, 200))
def test_a_torn_end_of_the_log_is_ignored_and_written_over(cut: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filled(folder)
        log = folder / "marks"
        data = log.read_bytes()
        at = data.rindex(b"\xa7mk\x01")
        log.write_bytes(data[: min(len(data) - 1, at + cut)])
        storage = Storage(folder)
        assert storage.load()[1] == MARKS[:2]
        storage.append(MARKS[3:])
        storage.close()
        assert Storage(folder).load()[1] == [*MARKS[:2], MARKS[3]]


def test_damage_in_the_middle_of_the_log_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    log = tmp_path / "marks"
    data = bytearray(log.read_bytes())
    data[data.index(b"handle")] ^= 1
    log.write_bytes(data)
    with pytest.raises(ConfigError, match="damaged") as error:
        Storage(tmp_path).load()
    assert "move the folder" in error.value.hint


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("generation", b""),
        ("generation", b"safekit rfs generation 1 00000000\n{}\n"),
        ("generation", b"safekit rfs generation 9 00000000\n{}\n"),
        ("generation", b"\xff\xfe"),
        ("marks", b""),
        ("marks", b"safekit rfs marks\0\x09"),
    ],
)
def test_an_unreadable_file_is_never_taken_for_nothing(tmp_path: Path, name: str, data: bytes) -> None:
    filled(tmp_path)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError) as error:
        Storage(tmp_path).load()
    assert str(tmp_path) in error.value.hint


@pytest.mark.parametrize("name", ["generation", "marks"])
def test_a_missing_file_is_never_taken_for_nothing(tmp_path: Path, name: str) -> None:
    filled(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match="missing"):
        Storage(tmp_path).load()


def test_one_changed_byte_of_the_generation_is_found(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "generation"
    path.write_bytes(path.read_bytes().replace(b'"stable": 3', b'"stable": 4'))
    with pytest.raises(ConfigError, match="checksum"):
        Storage(tmp_path).load()


def test_a_replacement_that_a_crash_cut_short_leaves_the_old_file(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "generation.new").write_bytes(b"half")
    assert Storage(tmp_path).load()[0] == DURABLE
    assert not (tmp_path / "generation.new").exists()


def test_nothing_is_appended_to_a_log_that_could_not_be_replaced(tmp_path: Path) -> None:
    filled(tmp_path)
    storage = opened(tmp_path)
    blocker = tmp_path / "marks.new"
    blocker.mkdir()
    with pytest.raises(OSError):
        storage.replace(MARKS[:1])
    with pytest.raises(OSError, match="could not be replaced"):
        storage.append(MARKS[:1])
    blocker.rmdir()
    storage.replace(MARKS[:1])
    storage.append(MARKS[1:2])
    storage.close()
    assert Storage(tmp_path).load() == (DURABLE, MARKS[:2])
