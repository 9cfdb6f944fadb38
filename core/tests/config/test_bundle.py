"""The files of a module: relative, plain, bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from safekit.config import bundle
from safekit.config.bundle import MAX_BYTES, MAX_FILES, check, digest, mode, read_bundle
from safekit_sdk import ConfigError

GOOD = {"module.yaml": b"kind: farm\n"}


@pytest.mark.parametrize(
    "path", ["scripts/start", "a", "a.b/c-d_e", "conf.d/10 main.conf", ".env", "a/.htaccess", "x" * 200]
)
def test_a_plain_relative_path_is_good(path: str) -> None:
    check({**GOOD, path: b""})


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "a/../x",
        "/etc/passwd",
        "a//b",
        "a/",
        "",
        ".",
        "./a",
        "a/./b",
        "..",
        "a\0b",
        "a\nb",
        "a\\b",
        "ü",
        "x" * 257,
        "/".join("a" * 17),
        "a~",
        ".git/config",
        "module.yaml.swp",
        " a",
    ],
)
def test_a_path_that_leaves_the_directory_or_is_odd_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the path of a module's file"):
        check({**GOOD, path: b""})


def test_a_file_cannot_be_a_directory_too() -> None:
    with pytest.raises(ConfigError, match="a/b/c: 'a' is a file and a directory"):
        check({**GOOD, "a": b"", "a/b/c": b""})


def test_the_module_file_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"the module has no file module\.yaml"):
        check({"scripts/start": b""})


def test_the_size_is_bounded() -> None:
    half = b"x" * (MAX_BYTES // 2)
    check({**GOOD, "a": half, "b": half[: -len(GOOD["module.yaml"])]})
    with pytest.raises(ConfigError, match=f"{MAX_BYTES + 1} bytes; the limit is {MAX_BYTES}"):
        check({"module.yaml": b"x", "a": half, "b": half})


def test_the_number_of_files_is_bounded() -> None:
    with pytest.raises(ConfigError, match=f"the limit is {MAX_FILES}"):
        check({**GOOD, **{str(n): b"" for n in range(MAX_FILES)}})


def test_the_digest_is_of_names_and_contents() -> None:
    assert digest({"a": b"1", "b": b"2"}) == digest({"b": b"2", "a": b"1"})
    assert len({digest(files) for files in ({"a": b"12"}, {"a1": b"2"}, {"a": b"1", "b": b""}, {"a": b"1"})}) == 4


@pytest.mark.parametrize(
    ("content", "expected"), [(b"#!/bin/sh\n", 0o755), (b"\x7fELF\x02", 0o755), (b"kind: farm", 0o644), (b"", 0o644)]
)
def test_what_is_a_program_is_executable(content: bytes, expected: int) -> None:
    assert mode(content) == expected


def test_a_directory_is_read_without_editors_leftovers(tmp_path: Path) -> None:
    for name in ("module.yaml", "module.yaml~", ".module.yaml.swp", "scripts/start", ".git/HEAD", "__pycache__/x.pyc"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    assert read_bundle(tmp_path) == {"module.yaml": b"module.yaml", "scripts/start": b"scripts/start"}


def test_a_link_is_refused_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "secret").symlink_to("/etc/shadow")
    with pytest.raises(ConfigError, match="secret: this is a symbolic link, which is not applied"):
        read_bundle(tmp_path)
    (tmp_path / "secret").unlink()
    (tmp_path / "directory").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="directory: this is a symbolic link, which is not applied"):
        read_bundle(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe: this is no plain file"):
        read_bundle(tmp_path)


def test_reading_stops_at_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="huge: the module's files have more than"):
        read_bundle(tmp_path)
    (tmp_path / "huge").unlink()
    monkeypatch.setattr(bundle, "MAX_FILES", 2)
    for name in "abc":
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="more than 2 files"):
        read_bundle(tmp_path)


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: the directory cannot be read: No such file or directory"):
        read_bundle(tmp_path / "nowhere")
