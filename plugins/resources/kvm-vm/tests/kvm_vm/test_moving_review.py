"""What a hostile review found of ADR 15."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_kvm_vm import qemu
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.libvirt import Libvirt
from safekit_resource_kvm_vm.memory import MemoryFile
from safekit_resource_kvm_vm.moving import Departure, lose

from safekit_sdk import ConfigError, Health, RefusedError, Transition
from safekit_sdk.elsewhere import ModuleSeen
from safekit_sdk.process import open_pidfd, wait_ended
from safekit_sdk.testing import a_context

from .test_kvm_vm import Guest
from .test_moving import IN, OUT, begin, guest, kept, leave  # noqa: F401

pytestmark = pytest.mark.long
AGAIN = Transition("SECOND", "PRIM", "swap", 3)
START = Transition("WAIT", "ALONE", "start", 2)


def write_to_the_disk(guest: Guest) -> None:  # noqa: F811
    with guest.image.open("r+b") as image:
        image.write(b"newer than the memory")
        os.fsync(image.fileno())


async def snap(guest: Guest, overlay: Path) -> None:  # noqa: F811
    spec = f"vda,file={overlay}"
    words = ("snapshot-create-as", guest.name, "--disk-only", "--no-metadata", "--diskspec", spec)
    await asyncio.to_thread(guest.daemon.virsh, *words)


async def test_a_refused_swap_in_leaves_the_memory_to_another_swap_although_the_disk_changed(guest: Guest) -> None:  # noqa: F811
    await leave(guest)
    resource = guest.resource
    resource.change = IN
    with guest.image.open("r+b") as image:  # qemu-nbd, guestmount, a backup's restore, on the node that is primary now
        with pytest.raises(RefusedError, match="open for writing"):
            await resource.start()
        image.write(b"newer than the memory")
        os.fsync(image.fileno())
    await resource.stop(False)
    went_on = await begin(guest, AGAIN)
    await guest.resource.stop(True)
    assert not went_on, "an old memory goes on with a newer disk"


async def test_a_start_that_fails_early_leaves_the_memory_to_another_swap(guest: Guest) -> None:  # noqa: F811
    await leave(guest)
    write_to_the_disk(guest)  # both nodes stopped, a disk restored or mounted
    guest.settings["uri"] = "qemu+unix:///system?socket=/nowhere"
    resource = guest.resource
    resource.change = START
    with pytest.raises(ConfigError):
        await resource.start()
    del guest.settings["uri"]
    went_on = await begin(guest, AGAIN)
    await guest.resource.stop(True)
    assert not went_on, "an old memory goes on with a newer disk"


async def test_what_was_never_replicated_is_as_old_as_its_claim(guest: Guest) -> None:  # noqa: F811
    """`exclude: [".*"]` of rfs: claim and memory stay on the node that left, the disk comes back newer."""
    await leave(guest)
    write_to_the_disk(guest)  # months of the other node, by rfs
    went_on = await begin(guest, AGAIN)
    await guest.resource.stop(True)
    assert not went_on, "an old memory goes on with a newer disk"


@pytest.mark.parametrize("moment", ["before", "amidst"])
async def test_a_snapshot_while_the_memory_is_written(
    guest: Guest,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """As backup programs make: the guest writes into another file from then on."""
    await begin(guest, Transition("WAIT", "ALONE", "start", 1))
    overlay = guest.folder / "overlay"
    live, monitor = Libvirt.live_definition, Libvirt.monitor

    async def snapshot() -> None:
        if overlay.exists():
            return
        await snap(guest, overlay)

    async def slow_live(self: Libvirt) -> Definition:
        found = await live(self)
        if moment == "before":
            await snapshot()
        return found

    async def slow_monitor(self: Libvirt, command: str, arguments: Any = None, fd: int | None = None) -> Any:
        if command == "migrate" and moment == "amidst":
            await monitor(self, "migrate-set-parameters", {"max-bandwidth": 2048})  # type: ignore[dict-item]
            answer = await monitor(self, command, arguments, fd)
            await snapshot()
            await monitor(self, "migrate-set-parameters", {"max-bandwidth": 1 << 30})  # type: ignore[dict-item]
            return answer
        return await monitor(self, command, arguments, fd)

    monkeypatch.setattr(Libvirt, "live_definition", slow_live)
    monkeypatch.setattr(Libvirt, "monitor", slow_monitor)
    try:
        left = await Departure(guest.config, guest.libvirt, MemoryFile(guest.folder, guest.name)).write()
    except ConfigError:
        await guest.resource.stop(True)
        return
    assert (await live(guest.libvirt)).images == (overlay,), "the guest wrote there"
    resource = guest.resource
    resource.change = OUT
    await resource.stop(True)
    await resource.seal(left)
    went_on = await begin(guest, IN)
    [pid] = qemu.find(guest.name)
    found = (went_on, qemu.writes(pid, [guest.image]), qemu.writes(pid, [overlay]))
    await guest.resource.stop(True)
    assert found != (True, True, False), "its memory goes on with the disk of before the snapshot"


async def test_a_boot_after_a_snapshot_has_the_disk_that_the_guest_wrote(guest: Guest) -> None:  # noqa: F811
    """Without any move: the definition beside the disks does not learn what is changed in the one that runs."""
    await begin(guest, Transition("WAIT", "ALONE", "start", 1))
    overlay = guest.folder / "overlay"
    await snap(guest, overlay)
    [pid] = qemu.find(guest.name)
    assert qemu.writes(pid, [overlay])
    async with contextlib.aclosing(guest.resource.watch()) as said, asyncio.timeout(30):  # type: ignore[type-var]
        while str(overlay) not in guest.file.read_text():
            assert (await anext(said)).health is Health.UP
    await kill(guest)  # a crash
    await begin(guest, AGAIN)
    [pid] = qemu.find(guest.name)
    found = qemu.writes(pid, [overlay])
    await guest.resource.stop(True)
    os.utime(guest.image)  # by a commit whose end was not seen
    with pytest.raises(RefusedError, match=f"{guest.image} was written after {overlay}"):
        await begin(guest, AGAIN)
    assert found, "it boots from the disk of before the snapshot: all that was written since is gone"


async def test_a_restored_claim_with_its_memory_is_not_believed_either(guest: Guest) -> None:  # noqa: F811
    """Both files come back from a backup, or from the versions that rfs kept aside, while the guest runs."""
    await leave(guest)
    saved = {name: (guest.folder / name).read_bytes() for name in (*kept(guest), f".{guest.name}.claim")}
    await begin(guest, IN)
    await guest.resource.stop(True)  # a crash; the guest had written since
    write_to_the_disk(guest)
    for name, content in saved.items():
        (guest.folder / name).write_bytes(content)
    went_on = await begin(guest, AGAIN)
    await guest.resource.stop(True)
    assert not went_on, "an old memory goes on with a newer disk"


async def test_after_a_snapshot_that_nobody_saw_a_boot_does_not_guess_which_disk_it_is(guest: Guest) -> None:  # noqa: F811
    """The node lost power before it was looked at."""
    await begin(guest, START)
    overlay = guest.folder / "overlay"
    await snap(guest, overlay)
    await kill(guest)
    assert f"{overlay} builds on {guest.image}" in guest.findings()
    with pytest.raises(RefusedError, match="was written later"):
        await begin(guest, AGAIN)
    await guest.resource.stop(True)
    os.utime(overlay, (0, 0))  # as one is that was committed long ago
    assert not await begin(guest, AGAIN)
    await guest.resource.stop(True)


async def kill(guest: Guest) -> None:  # noqa: F811
    [pid] = qemu.find(guest.name)
    pidfd = open_pidfd(pid)
    assert pidfd is not None
    os.kill(pid, signal.SIGKILL)
    assert await wait_ended(pidfd, 20.0)
    os.close(pidfd)


async def test_a_snapshot_outside_of_the_directory_is_down_and_nothing_else_is_started(guest: Guest) -> None:  # noqa: F811
    await begin(guest, START)
    outside = guest.folder.parent / "outside"
    async with contextlib.aclosing(guest.resource.watch()) as said:  # type: ignore[type-var]
        assert (await anext(said)).health is Health.UP
        await snap(guest, outside)
        async with asyncio.timeout(20):
            while (verdict := await anext(said)).health is not Health.DOWN:
                pass
    assert f"to {outside}, outside of" in verdict.reason
    await guest.resource.stop(True)
    assert "outside of" in guest.findings()
    with pytest.raises(ConfigError, match="outside of"):
        await begin(guest, AGAIN)


async def test_a_move_ends_when_the_other_node_does_although_the_file_hangs(
    guest: Guest,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pipe is full then, and QEMU in the midst of a write into it."""
    hanging, released = threading.Event(), threading.Event()

    def hang(_: MemoryFile, definition: Definition, stream: int, limit_bytes: int) -> None:
        hanging.set()
        released.wait(60)
        os.close(stream)

    async def states(_: str) -> dict[str, ModuleSeen]:
        return {"node1": ModuleSeen(state="PRIM"), "node2": ModuleSeen(heard=not hanging.is_set(), state="SECOND")}

    monkeypatch.setattr(MemoryFile, "write", hang)
    monkeypatch.setattr("safekit_resource_kvm_vm.moving.PIPE_BYTES", 4096)
    guest.context = a_context(guest.folder.parent, name=guest.name, module_states=states)
    await begin(guest, START)
    lost = partial(lose, guest.context, "node2")
    with pytest.raises(ConfigError, match="node2 is silent"):
        async with asyncio.timeout(30):
            await Departure(guest.config, guest.libvirt, MemoryFile(guest.folder, guest.name), lost).write()
    assert guest.state() == "running"
    assert (await guest.libvirt.monitor("query-migrate"))["status"] in ("cancelled", "completed")
    released.set()
    await guest.resource.stop(True)


async def test_a_full_disk_ends_a_move_before_it_begins_and_leaves_nothing(
    guest: Guest,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await begin(guest, START)
    live = Libvirt.live_definition

    async def large(self: Libvirt) -> Definition:
        found = await live(self)
        text = found.text.replace("'KiB'>16384<", f"'KiB'>{1 << 40}<")
        assert text != found.text
        return Definition.parse(text, "test")

    monkeypatch.setattr(Libvirt, "live_definition", large)
    with pytest.raises(OSError, match="MiB for its memory") as told:
        await Departure(guest.config, guest.libvirt, MemoryFile(guest.folder, guest.name)).write()
    assert told.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert kept(guest) == []
    assert guest.state() == "running"
    await guest.resource.stop(True)


def test_another_guest_with_a_longer_name_keeps_what_is_its_own(tmp_path: Path) -> None:
    names = [".vm1.memory.claim", ".vm1.memory.memory.part", ".vm1.memory.memory.7.0a", ".vm1.memory.5.claim"]
    own = [".vm1.memory.part", ".vm1.memory.taken", ".vm1.memory.7", f".vm1.memory.7.{'0' * 32}"]
    for name in (*names, *own):
        (tmp_path / name).touch()
    MemoryFile(tmp_path, "vm1").clear()
    assert {path.name for path in tmp_path.iterdir()} == set(names)
