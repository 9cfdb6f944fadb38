"""`safekit plan` says on each node what is in the way, and what to compare with the other node; nothing changes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_rfs import RfsConfig, RfsResource, inventory, plan
from safekit_resource_rfs.generations import Durable, Generation
from safekit_resource_rfs.settings import SETTINGS, Settings
from safekit_resource_rfs.storage import Storage

from safekit_sdk import Context, Examination

NAMELESS = 54_321


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Of an instance that never lived; no directory of it is there."""
    places = {name: tmp_path / name / "modules" / "web" / "rfs.data" for name in ("var", "run")}
    return Context("web", "mirror", "node1", "data", state_dir=places["var"], run_dir=places["run"])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 4 MiB."""
    made = tmp_path / "small"
    made.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(made)], check=True)
    try:
        yield made
    finally:
        subprocess.run(["umount", str(made)], check=True)


def config(directory: Path, **settings: Any) -> RfsConfig:
    return RfsConfig.model_validate({"directory": directory, **settings})


def examined(directory: Path, context: Context, *beside: Path, **settings: Any) -> Examination:
    return RfsResource.examine(config(directory, **settings), context, [config(other) for other in beside])


def the_finding(found: Examination) -> str:
    (finding,) = found.findings
    return finding


def test_an_empty_directory_says_what_is_free_and_nothing_is_made(directory: Path, context: Context) -> None:
    (directory / "lost+found").mkdir()
    found = examined(directory, context)
    assert found.findings == ()
    assert "is empty here" in found.notes[0]
    assert (len(found.notes), [*directory.iterdir()]) == (2, [directory / "lost+found"])
    assert not context.state_dir.exists()
    assert not context.run_dir.exists()


def test_each_node_says_how_much_it_has_and_how_much_is_free(small: Path, context: Context) -> None:
    (small / "inner").mkdir()
    (small / "inner" / "file").write_bytes(bytes(1 << 20))
    size, _, unknown = examined(small, context).notes
    assert "holds 1.0 MB here, in 2 files and folders; 3.1 MB are free" in size
    assert "--from-primary" in unknown


def test_owners_are_told_by_name_and_number_those_without_a_name_first(directory: Path, context: Context) -> None:
    (directory / "file").touch()
    os.chown(directory / "file", NAMELESS, NAMELESS + 1)
    owners = examined(directory, context).notes[1]
    assert f"user {NAMELESS} without a name, root (0); group {NAMELESS + 1} without a name, root (0)" in owners


def test_of_many_owners_some_are_named() -> None:
    names = inventory.user_names(range(NAMELESS, NAMELESS + 100))
    assert (len(names), names[-1]) == (inventory.MAX_OWNERS + 1, "92 more")


def test_content_that_was_never_synchronised_is_told_with_what_happens_to_it(directory: Path, context: Context) -> None:
    (directory / "file").touch()
    assert "never synchronised" in examined(directory, context).notes[2]
    assert "overwrites it" in examined(directory, context, first_sync="overwrite").notes[2]
    storage = Storage(context.state_dir / "durable")
    storage.load()
    storage.store(Durable())
    assert len(examined(directory, context).notes) == 3
    storage.store(Durable(Generation("ab" * 16, 1)))
    storage.close()
    assert len(examined(directory, context).notes) == 2


def test_a_look_is_bounded_and_says_so(directory: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (directory / str(number)).touch()
    monkeypatch.setattr(inventory, "MAX_ENTRIES", 3)
    size = examined(directory, context).notes[0]
    assert "at least 3 files" in size
    assert ", at most " in size


def test_a_directory_of_another_module_is_refused_by_its_marker(directory: Path, context: Context) -> None:
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        plan.claim(root, directory, "other", "data")
    finally:
        os.close(root)
    assert "module 'other'" in the_finding(examined(directory, context))
    own = Context("other", "mirror", "node1", "data", state_dir=context.state_dir, run_dir=context.run_dir)
    assert examined(directory, own).findings == ()


def test_a_replicated_directory_deep_in_it_is_found(directory: Path, context: Context) -> None:
    inner = directory / "a" / os.fsdecode(b"b\xff")
    (inner / plan.OWN_FOLDER).mkdir(parents=True)
    assert "b\\xff in " in the_finding(examined(directory, context))


def test_directories_of_one_module_are_not_in_each_other(directory: Path, context: Context) -> None:
    assert "another rfs of this module as well" in the_finding(examined(directory, context, directory))
    assert f"{directory}/inner lies in" in the_finding(examined(directory, context, directory / "inner"))
    assert f"{directory} lies in" in the_finding(examined(directory, context, directory.parent))
    assert examined(directory, context, directory.with_name("data2")).findings == ()


def test_a_directory_of_a_module_that_runs_here_is_refused(directory: Path, context: Context) -> None:
    run_dir = context.run_dir.parent.parent / "shop" / "rfs.data"
    run_dir.mkdir(parents=True)
    settings = Settings("node1", "shop", "data", context.state_dir, run_dir, config(directory.parent))
    settings.write(run_dir / SETTINGS)
    (run_dir.parent / "rfs.torn").mkdir()
    (run_dir.parent / "rfs.torn" / SETTINGS).write_text("{")
    assert "module 'shop'" in the_finding(examined(directory, context))


def test_what_is_in_the_way_is_said_without_a_look_at_it(directory: Path, context: Context) -> None:
    missing = examined(directory / "missing", context)
    assert "create it" in the_finding(missing)
    assert missing.notes == ()
    farm = Context("web", "farm", "node1", "data", state_dir=context.state_dir, run_dir=context.run_dir)
    assert "farm" in the_finding(examined(directory, farm))
