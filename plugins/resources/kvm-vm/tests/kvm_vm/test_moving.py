"""A guest's memory: it goes on once, with the disks that belong to it, or not at all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from safekit_resource_kvm_vm import qemu
from safekit_resource_kvm_vm.memory import MemoryFile
from safekit_resource_kvm_vm.moving import Departure, is_asked_for
from safekit_resource_kvm_vm.offer import Offer, Question, look

from safekit_sdk import ConfigError, SafekitError, Transition
from safekit_sdk.procfs import arguments
from safekit_sdk.testing import a_context

from .libvirtd import Libvirtd
from .test_kvm_vm import Guest

NAME = f"moves-{os.getpid()}"
OUT = Transition("PRIM", "SECOND", "swap", 1)
IN = Transition("SECOND", "PRIM", "swap", 2)


@pytest.fixture
def guest(daemon: Libvirtd, tmp_path: Path) -> Guest:
    folder = tmp_path / "vm"
    folder.mkdir()
    made = Guest(daemon, folder, a_context(tmp_path, name=NAME), name=NAME)
    made.write()
    return made


def memory(guest: Guest) -> MemoryFile:
    return MemoryFile(guest.folder, guest.name)


def departure(guest: Guest) -> Departure:
    return Departure(guest.config, guest.libvirt, memory(guest))


async def begin(guest: Guest, change: Transition) -> bool:
    """Whether it went on where it was."""
    resource = guest.resource
    resource.change = change
    await resource.start()
    [pid] = qemu.find(guest.name)
    assert guest.daemon.virsh("domstate", guest.name) == "running"
    return "-incoming" in arguments(pid)


async def leave(guest: Guest) -> None:
    """As a swap does, whose question to the other node needs one."""
    await begin(guest, Transition("WAIT", "ALONE", "start", 1))
    left = await departure(guest).write()
    assert guest.state() == "paused"
    resource = guest.resource
    resource.change = OUT
    await resource.stop(True)
    await resource.seal(left)


def kept(guest: Guest) -> list[str]:
    return [path.name for path in guest.folder.iterdir() if ".memory." in path.name]


async def test_it_goes_on_once(guest: Guest) -> None:
    await leave(guest)
    assert await begin(guest, IN)
    assert kept(guest) == []
    await guest.resource.stop(True)
    assert not await begin(guest, Transition("SECOND", "ALONE", "takeover", 3))
    await guest.resource.stop(True)


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [Transition("WAIT", "ALONE", "start", 2), Transition("PRIM", "PRIM", "restart", 1)],
    ids=lambda change: change.action,
)
async def test_where_somebody_may_have_used_the_disks_since_it_boots(guest: Guest, change: Transition) -> None:
    await leave(guest)
    assert not await begin(guest, change)
    assert kept(guest) == []
    await guest.resource.stop(True)


@pytest.mark.long
async def test_a_start_since_then_is_on_record_and_it_boots(guest: Guest) -> None:
    await leave(guest)
    (guest.folder / f".{guest.name}.claim").write_text('{"node": "node2", "epoch": 2}')
    assert not await begin(guest, Transition("SECOND", "PRIM", "swap", 3))
    assert kept(guest) == []
    await guest.resource.stop(True)


@pytest.mark.long
async def test_what_is_cut_off_or_no_memory_at_all_boots(guest: Guest) -> None:
    for damage in (lambda path: os.truncate(path, path.stat().st_size // 2), lambda path: path.write_bytes(b"x" * 99)):
        await leave(guest)
        [sealed] = (guest.folder / name for name in kept(guest))
        assert sealed.stat().st_mode & 0o077 == 0
        damage(sealed)
        assert not await begin(guest, IN)
        assert kept(guest) == []
        await guest.resource.stop(True)
        (guest.folder / f".{guest.name}.claim").unlink()
    assert any("it is booted" in line for line in guest.context.lines)


@pytest.mark.long
async def test_a_guest_that_somebody_let_go_on_has_no_memory_to_go_on_with(guest: Guest) -> None:
    await begin(guest, Transition("WAIT", "ALONE", "start", 1))
    left = await departure(guest).write()
    guest.daemon.virsh("resume", guest.name)
    guest.image.write_bytes(b"written")
    await guest.resource.stop(True)
    await guest.resource.seal(left)
    assert any("somebody let it go on" in line for line in guest.context.lines)
    assert not await begin(guest, IN)
    await guest.resource.stop(True)


@pytest.mark.long
async def test_what_cannot_be_written_leaves_the_guest_running(guest: Guest) -> None:
    await begin(guest, Transition("WAIT", "ALONE", "start", 1))
    obstacle = guest.folder / f".{guest.name}.memory.part"
    obstacle.mkdir()
    with pytest.raises(OSError, match="part"):
        await departure(guest).write()
    assert guest.state() == "running"
    obstacle.rmdir()
    guest.settings["move"] = "10ms"
    with pytest.raises(TimeoutError):
        await departure(guest).write()
    assert guest.state() == "running"
    with pytest.raises(ConfigError, match="faster than it is written"):
        source, sink = os.pipe()
        os.write(sink, b"x" * 100)
        os.close(sink)
        await asyncio.to_thread(memory(guest).write, await guest.libvirt.live_definition(), source, 99)
    guest.settings["move"] = "1m"
    await departure(guest).write()
    await guest.resource.stop(True)


@pytest.mark.long
async def test_a_swap_that_cannot_ask_the_other_node_shuts_it_down(guest: Guest) -> None:
    await begin(guest, Transition("WAIT", "ALONE", "start", 1))
    resource = guest.resource
    resource.change = OUT
    await resource.stop(False)
    assert kept(guest) == []
    assert any("shut down and booted on the other node, not moved" in line for line in guest.context.lines)


async def test_the_nodes_have_to_be_alike_and_to_have_room(guest: Guest) -> None:
    here = await look(Question(uri=guest.daemon.uri, directory=guest.folder))
    assert here.lacks(here, 1, 1) == ""
    there = Offer(kind="another", memory_bytes=1, room_bytes=1)
    assert "differ" in there.lacks(here, 1, 1)
    assert "no room" in there.model_copy(update={"kind": here.kind}).lacks(here, 1, 2)
    assert "memory" in there.model_copy(update={"kind": here.kind}).lacks(here, 2, 1)
    with pytest.raises(SafekitError, match="libvirt does not answer"):
        await look(Question(uri="qemu+unix:///system?socket=/nowhere", directory=guest.folder))


def test_only_what_an_operator_asked_for_moves_a_guest() -> None:
    assert is_asked_for("swap: node2 becomes primary")
    assert is_asked_for("node2 is the default primary and is ready")
    assert not is_asked_for("rule 'tcp.guest down': tcp.guest is down")
