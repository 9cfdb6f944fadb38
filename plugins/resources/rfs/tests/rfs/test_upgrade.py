"""Another version of the data path takes over under a mount that lives: one pause, no error, nothing lost."""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from safekit_resource_rfs import handover
from safekit_resource_rfs.handover import MountState, State, read_state, write_state
from safekit_resource_rfs.settings import SETTINGS, Settings

from safekit_sdk import ConfigError, PeerError

from .cluster import Node, compared, mirrored, two_nodes, until
from .trees import differences

ROUNDS = 3


async def upgraded(node: Node) -> None:
    """When it returns, another program answers."""
    before, pids = (await node.status())["started"], node.pids
    await node.do("upgrade", 40.0)

    async def is_new() -> bool:
        try:
            return bool((await node.status())["started"] != before)
        except PeerError:
            return False

    await until(is_new, "nobody took over")
    assert node.pids == pids


class Commits:
    """Of a database, one after the other until ended; each that returned is counted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_over = False
        self.count = 0

    def run(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=30)) as base:
            base.execute("create table if not exists commits (number integer)")
            base.commit()
            while not self._is_over:
                base.execute("insert into commits values (?)", (self.count,))
                base.commit()
                self.count += 1

    def end(self) -> None:
        self._is_over = True


@contextmanager
def held_open(root: Path) -> Iterator[tuple[int, mmap.mmap, int]]:
    """A file with a lock, a map of another, and a file that has no name any more."""
    (root / "mapped").write_bytes(bytes(8192))
    locked = os.open(root / "locked", os.O_RDWR | os.O_CREAT)
    fcntl.flock(locked, fcntl.LOCK_EX)
    nameless = os.open(root / "nameless", os.O_RDWR | os.O_CREAT)
    os.write(nameless, b"still here")
    (root / "nameless").unlink()
    with (root / "mapped").open("r+b") as file, mmap.mmap(file.fileno(), 8192) as memory:
        yield locked, memory, nameless
    os.close(locked)
    os.close(nameless)


def a_lock_is_refused(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@pytest.mark.long
async def test_both_nodes_are_upgraded_under_load_and_nothing_is_lost(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await mirrored(one, two)
    (one.directory / "a" / "b").mkdir(parents=True)
    commits = Commits(one.directory / "a" / "base")
    working = asyncio.create_task(asyncio.to_thread(commits.run))
    with held_open(one.directory) as (locked, memory, nameless):
        for number in range(ROUNDS):
            await until(lambda: commits.count > 5)
            memory[number * 100] = number + 1
            await upgraded(one)
            await one.becomes(link="paired")
            assert await two.is_(up_to_date=True)
            at = commits.count
            await until(lambda at=at: commits.count > at, "nothing is written after the upgrade")
            await upgraded(two)
            await one.becomes(link="paired")
            os.write(locked, b"locked")
            assert a_lock_is_refused(one.directory / "locked")
            assert os.pread(nameless, 100, 0) == b"still here"
            os.pwrite(nameless, b"still here", 0)
            (one.directory / "a" / f"new{number}").write_text("new")
            (one.directory / "a" / f"new{number}").rename(one.directory / "a" / "b" / f"moved{number}")
        memory.flush()
        commits.end()
        await working
        assert memory[200] == 3
    with closing(sqlite3.connect(one.directory / "a" / "base")) as base:
        assert base.execute("select count(*) from commits").fetchone() == (commits.count,)
    assert await compared(one) == []
    for node in (one, two):
        await node.stop()
    assert differences(one.directory, two.directory) == []


async def test_one_that_stands_alone_is_upgraded_too(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await two.stop()
    await one.promote(1)
    (one.directory / "file").write_text("before")
    with (one.directory / "file").open("a") as file:
        await upgraded(one)
        file.write(" and after")
    await one.becomes(link="alone", up_to_date=True)
    assert (one.directory / "file").read_text() == "before and after"
    with pytest.raises(FileNotFoundError):
        (one.directory / "README.safekit").stat()
    await one.demote()
    await upgraded(one)
    assert [path.name for path in one.directory.iterdir()] == ["README.safekit"]


async def test_a_start_lets_the_installed_version_take_over(
    pair: tuple[Node, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    await mirrored(one, two)
    started, pids = (await one.status())["started"], one.pids
    about = tmp_path / "safekit_resource_rfs-9.9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: safekit-resource-rfs\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    await one.resource("PRIM", "PRIM").start()
    await one.becomes(link="paired")
    assert ((await one.status())["started"] > started, one.pids) == (True, pids)


async def test_a_version_that_cannot_read_the_state_leaves_the_old_one_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(site))
    async with two_nodes(tmp_path / "nodes") as (one, two):
        await mirrored(one, two)
        started = (await one.status())["started"]
        (site / "sitecustomize.py").write_text("import sys\nsys.exit('not the right version')\n")
        with pytest.raises(ConfigError, match="cannot take over, and this one goes on"):
            await one.do("upgrade", 40.0)
        assert (await one.status())["started"] == started
        (one.directory / "file").write_text("written by the old one")
        await one.becomes(link="paired")


async def test_nothing_is_upgraded_while_writes_wait_for_the_other_node(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await mirrored(one, two)
    await two.kill()
    await one.becomes(link="holding")
    with pytest.raises(ConfigError, match="wait for the other node"):
        await one.do("upgrade", 40.0)


async def test_settings_change_under_a_mount_that_lives(pair: tuple[Node, Node]) -> None:
    """As a new version takes over; applications notice nothing."""
    one, two = pair
    await mirrored(one, two)
    before, started = one.config, (await one.status())["started"]
    with (one.directory / "file").open("w") as file:
        file.write("one")
        file.flush()
        one.config = before.model_copy(update={"bandwidth": 1 << 20})
        await one.resource().reconfigure(before)
        await one.becomes(role="primary", link="paired")
        assert (await one.status())["started"] != started
        file.write(" two")
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    assert Settings.read(one.context.run_dir / SETTINGS).config.bandwidth == 1 << 20
    assert (one.directory / "file").read_text() == "one two"
    assert await compared(one) == []


async def test_settings_that_cannot_change_now_stop_no_program(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await mirrored(one, two)
    await two.kill()
    await one.becomes(link="holding")
    before = one.config
    one.config = before.model_copy(update={"bandwidth": 1 << 20})
    await one.resource().reconfigure(before)
    assert "goes on with the former settings" in one.context.lines[-1]
    assert await one.is_(link="holding")


def a_state() -> State:
    mount = MountState(root_fd=3, device_fd=4, minor=40, next_id=9, notice="n\xff", notice_id=8)
    return State(
        format=handover.FORMAT,
        program="1",
        lock_fd=5,
        control_fd=6,
        listener_fds=[7],
        mount=mount,
        primary=None,
        secondary=None,
        peer_node="",
        addresses=[],
        place="",
        waits_for_calendar=False,
        last_event="",
    )


def test_a_state_is_read_as_it_was_written_and_no_other_format() -> None:
    assert read_state(write_state(a_state())) == a_state()
    with pytest.raises(ConfigError, match="has the format 99"):
        read_state(write_state(a_state().model_copy(update={"format": 99})))
