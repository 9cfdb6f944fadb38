"""What is executed is recorded, whatever a process has run out of."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safekit_resource_rfs import local
from safekit_resource_rfs.exclusion import NOTHING
from safekit_resource_rfs.fuse.protocol import ROOT_ID
from safekit_resource_rfs.marks import Place
from safekit_resource_rfs.recording import Recording
from safekit_resource_rfs.syscalls import handle_of
from safekit_resource_rfs.tree import Tree

from .serving import LocalRecorder


class Covered(LocalRecorder):
    def __init__(self) -> None:
        super().__init__()
        self.places: list[Place] = []

    def cover(self, *places: Place) -> None:
        self.places += places


@contextmanager
def no_more_files() -> Iterator[None]:
    """The process can open none."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_a_new_directory_needs_no_descriptor_to_be_recorded(tmp_path: Path) -> None:
    (tmp_path / "parent" / "new").mkdir(parents=True)
    tree, recorder = Tree(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), ROOT_ID + 1, NOTHING), Covered()
    recording = Recording(tree, recorder)
    parent = tree.look_up(tree.root, b"parent", local.status(tree.root.fd, b"parent"))
    new = tree.look_up(tree.directory(parent.id), b"new", local.status(tree.open(parent), b"new"))
    with no_more_files():
        with pytest.raises(OSError, match="Too many"):
            tree.open(new)
        recording.cover(new)
    fd = os.open(tmp_path / "parent" / "new", os.O_RDONLY)
    assert recorder.places == [Place(handle_of(fd))]
    os.close(fd)
    tree.close_all()
    os.close(tree.root.fd)
