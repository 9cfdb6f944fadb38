"""What `safekit plan` finds when it has both nodes' directories before it."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest
from safekit_resource_rfs import RfsConfig, RfsResource
from safekit_resource_rfs.confronting import FACT, MAX_NAMES, Names, Side

from safekit_sdk import Context

GB = 10**9
BOTH = {"root": 0, "app": 105, "games": 60}


def names(owning: dict[str, int], known: dict[str, int] | None = None, *, is_whole: bool = True) -> Names:
    return Names(owning=owning, known=BOTH if known is None else known, is_whole=is_whole)


DATA = Side(
    entries=7,
    size_bytes=5 * GB,
    free_bytes=2 * GB,
    was_synchronised=False,
    users=names({"app": 105}),
    groups=names({"games": 60}),
)
EMPTY = DATA.model_copy(
    update={"entries": 0, "size_bytes": 0, "free_bytes": 9 * GB, "users": names({"root": 0}), "groups": names({})}
)


def compared(first: Side, second: Side, first_sync: str = "refuse") -> dict[str, str]:
    config = RfsConfig.model_validate({"directory": "/data", "first_sync": first_sync})
    facts = {"node1": {FACT: first.model_dump_json()}, "node2": {FACT: second.model_dump_json()}}
    return {node: "; ".join(said) for node, said in RfsResource.confront(config, facts).items() if said}


def test_nodes_that_fit_have_nothing_to_say() -> None:
    assert compared(DATA, EMPTY) == {}
    assert compared(EMPTY, DATA) == {}
    assert compared(EMPTY, EMPTY) == {}


def test_a_user_with_another_number_is_found_where_it_is_mended() -> None:
    said = compared(DATA, EMPTY.model_copy(update={"users": names({}, {"root": 0, "app": 107})}))
    assert said.keys() == {"node2"}
    assert "files on node1 belong to the user app, 105 there and 107 here" in said["node2"]
    assert "`usermod -u 105 app`" in said["node2"]


def test_a_group_that_is_missing_is_found_unless_the_node_could_not_tell_all_it_has() -> None:
    said = compared(EMPTY.model_copy(update={"groups": names({}, {"root": 0})}), DATA)
    assert said.keys() == {"node1"}
    assert "there is no such group here" in said["node1"]
    assert "`groupadd -g 60 games`" in said["node1"]
    assert compared(EMPTY.model_copy(update={"groups": names({}, {"root": 0}, is_whole=False)}), DATA) == {}


def test_a_disk_that_is_too_small_for_the_copy_is_found() -> None:
    said = compared(DATA, EMPTY.model_copy(update={"free_bytes": 4 * GB}))
    assert said.keys() == {"node2"}
    assert "node1 holds 5.0 GB and there is room for 4.0 GB here" in said["node2"]
    seeded = EMPTY.model_copy(update={"free_bytes": 4 * GB, "size_bytes": GB})
    assert compared(DATA, seeded) == {}


def test_two_directories_with_files_that_were_never_one_ask_which_has_the_data() -> None:
    said = compared(DATA, DATA)
    assert said.keys() == {"node1", "node2"}
    assert "files are here and on node2, and the two were never synchronised" in said["node1"]
    assert compared(DATA, DATA.model_copy(update={"was_synchronised": True})) == {}
    assert compared(DATA, DATA, first_sync="overwrite") == {}


@pytest.mark.parametrize("told", ["", "{}", "[1]", '{"entries": "many"}', "\x00"])
def test_what_another_version_tells_is_not_compared(told: str) -> None:
    config = RfsConfig.model_validate({"directory": "/data"})
    facts = {"node1": {FACT: DATA.model_dump_json()}, "node2": {FACT: told}, "node3": {}}
    assert not any(RfsResource.confront(config, facts).values())


def test_a_node_tells_whose_files_it_has_and_whom_it_knows(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_bytes(bytes(8192))
    daemon, nameless = pwd.getpwnam("daemon"), 54_321
    os.chown(tmp_path / "data/file", daemon.pw_uid, nameless)
    context = Context(
        "web", "mirror", "node1", "data", state_dir=tmp_path / "var", run_dir=tmp_path / "run/web/rfs.data"
    )
    config = RfsConfig.model_validate({"directory": tmp_path / "data"})
    side = Side.model_validate_json(RfsResource.examine(config, context, ()).facts[FACT])
    assert (side.entries, side.was_synchronised) == (1, False)
    assert side.size_bytes >= 8192
    assert side.users.owning == {"root": 0, "daemon": daemon.pw_uid}
    assert side.groups.owning == {grp.getgrgid(0).gr_name: 0}
    assert side.users.known == {one.pw_name: one.pw_uid for one in pwd.getpwall()}
    assert side.users.is_whole == (len(pwd.getpwall()) <= MAX_NAMES)
