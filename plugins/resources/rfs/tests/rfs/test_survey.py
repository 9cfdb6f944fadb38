"""What is compared of a directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from safekit_resource_rfs.messages import BLOCK_BYTES as SUMMED_BYTES
from safekit_resource_rfs.survey import Survey

from .power import BLOCK_BYTES, a_disk


def test_what_the_cache_alone_has_is_not_read_once_it_is_dropped(tmp_path: Path) -> None:
    with a_disk(tmp_path) as disk:
        file = disk.path / "file"
        file.write_bytes(b"1" * BLOCK_BYTES)
        os.sync()
        told = subprocess.run(["filefrag", "-e", file], check=True, capture_output=True, text=True, timeout=60).stdout
        block = int(told.splitlines()[3].split(":")[2].split("..")[0])
        with disk.image.open("r+b") as image:
            image.seek(block * BLOCK_BYTES)
            assert image.read(1) == b"1"
            image.seek(block * BLOCK_BYTES)
            image.write(b"2" * BLOCK_BYTES)
        root = os.open(disk.path, os.O_RDONLY)
        try:
            survey = Survey(root)
            cached = survey.checksums(b"file", 0, 1)
            assert survey.checksums(b"file", 0, 1, from_disk=True) != cached
        finally:
            os.close(root)


def test_what_was_never_written_is_as_zeros_unless_it_is_asked_for_holes(tmp_path: Path) -> None:
    length = 3 * SUMMED_BYTES + 100
    (tmp_path / "zeros").write_bytes(bytes(length))
    for name in ("hole", "reserved"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(length)
            if name == "reserved":
                os.posix_fallocate(file.fileno(), SUMMED_BYTES, SUMMED_BYTES)
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        survey = Survey(root)
        zeros = survey.checksums(b"zeros", 0, 4 * SUMMED_BYTES)
        assert zeros[0] == zeros[1] != zeros[3]
        assert zeros == survey.checksums(b"hole", 0, 4 * SUMMED_BYTES)
        assert zeros == survey.checksums(b"reserved", 0, 4 * SUMMED_BYTES)
        with_holes = survey.checksums(b"hole", 0, 4 * SUMMED_BYTES, with_holes=True)
        assert zeros == survey.checksums(b"zeros", 0, 4 * SUMMED_BYTES, with_holes=True)
        assert not {*zeros} & {*with_holes}
        has_space = [False, True, False, False]
        mixed = [zero if space else hole for zero, hole, space in zip(zeros, with_holes, has_space, strict=True)]
        assert mixed == list(survey.checksums(b"reserved", 0, 4 * SUMMED_BYTES, with_holes=True))
    finally:
        os.close(root)
