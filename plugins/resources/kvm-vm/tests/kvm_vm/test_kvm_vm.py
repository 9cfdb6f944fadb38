"""A real libvirt and QEMU: what is refused, what is taken over, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_kvm_vm import KvmVmConfig, KvmVmResource, commands, qemu
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.examining import has_no_virtualization
from safekit_resource_kvm_vm.libvirt import Libvirt
from typer.testing import CliRunner

from safekit_sdk import ConfigError, Health, RefusedError, ResourceState, Transition, Verdict
from safekit_sdk.testing import RecordingContext, a_context

from .libvirtd import Libvirtd, machine

NAME = f"vm-{os.getpid()}"
AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


@dataclass
class Guest:
    daemon: Libvirtd
    folder: Path
    context: RecordingContext
    settings: dict[str, Any] = field(default_factory=dict)
    name: str = NAME

    @property
    def config(self) -> KvmVmConfig:
        quick = {"storage": "shared", "shutdown": "50ms", "interval": "200ms", "booting": "10ms"}
        own = {"domain": self.name, "directory": str(self.folder), "uri": self.daemon.uri}
        return KvmVmConfig.model_validate({**own, **quick, **self.settings})

    @property
    def resource(self) -> KvmVmResource:
        return KvmVmResource(self.config, self.context)

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.xml"

    @property
    def image(self) -> Path:
        return self.folder / f"{self.name}.img"

    def write(self, more: str = "", change: Callable[[str], str] = str) -> None:
        self.file.write_text(change(machine(self.folder, self.name, more=more)))

    def findings(self) -> str:
        return "; ".join(KvmVmResource.examine(self.config, self.context, ()).findings)

    @property
    def libvirt(self) -> Libvirt:
        return Libvirt(self.daemon.uri, self.name)

    def state(self) -> str:
        return self.daemon.virsh("domstate", self.name)

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[KvmVmResource]:
        resource = self.resource
        await resource.start()
        try:
            yield resource
        finally:
            await self.resource.stop(True)


def run_here(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def guest(daemon: Libvirtd, tmp_path: Path) -> Guest:
    folder = tmp_path / "vm"
    folder.mkdir()
    made = Guest(daemon, folder, a_context(tmp_path, name=NAME))
    made.write()
    return made


async def test_a_domain_of_libvirt_is_taken_over_and_given_back(guest: Guest) -> None:
    guest.daemon.virsh("define", str(guest.file))
    guest.daemon.virsh("autostart", NAME)
    guest.file.unlink()
    async with guest.started():
        assert Definition.read(guest.file).was_autostarted
        assert "persistent" not in guest.daemon.virsh("list", "--all", "--persistent", "--name")
        assert NAME in guest.daemon.virsh("list", "--transient", "--name")
        with_address = await asyncio.to_thread(
            CliRunner().invoke, commands.app, ["give-back", str(guest.file), "--uri", guest.daemon.uri]
        )
        assert isinstance(with_address.exception, RefusedError)
    assert NAME not in guest.daemon.virsh("list", "--all", "--name")
    given = CliRunner().invoke(commands.app, ["give-back", str(guest.file), "--uri", guest.daemon.uri])
    assert "starts it at boot" in given.output
    assert NAME in guest.daemon.virsh("list", "--all", "--autostart", "--name")
    guest.daemon.virsh("undefine", NAME)


async def test_another_definition_that_libvirt_has_here_is_kept_aside(guest: Guest) -> None:
    guest.daemon.virsh("define", str(guest.file))
    guest.write(change=lambda text: text.replace("'MiB'>16<", "'MiB'>24<"))
    async with guest.started():
        assert "<memory unit='KiB'>24576</memory>" in guest.daemon.virsh("dumpxml", NAME)
    aside = guest.context.state_dir / f"{NAME}.set-aside.xml"
    assert "16384" in aside.read_text()
    assert any("the other is kept in" in line for line in guest.context.lines)


async def test_what_is_edited_in_libvirt_while_it_runs_counts_from_the_next_start_on(guest: Guest) -> None:
    async with guest.started() as resource:
        edited = guest.folder.parent / "edited.xml"
        edited.write_text(guest.file.read_text().replace("'MiB'>16<", "'MiB'>24<"))
        async with contextlib.aclosing(resource.watch()) as said:  # type: ignore[type-var]
            assert (await anext(said)).health is Health.UP
            guest.daemon.virsh("define", str(edited))
            async with asyncio.timeout(20):
                while "24576" not in guest.file.read_text():
                    await anext(said)
        assert NAME in guest.daemon.virsh("list", "--transient", "--name")


async def test_a_guest_that_somebody_started_by_hand_is_never_touched(guest: Guest) -> None:
    guest.daemon.virsh("create", str(guest.file))
    [pid] = qemu.find(NAME)
    assert "runs here, and not by this module" in guest.findings()
    with pytest.raises(RefusedError, match="not by this module"):
        await guest.resource.start()
    for force in (False, True):
        with pytest.raises(RefusedError, match="not by this module"):
            await guest.resource.stop(force)
    assert (await guest.resource.status()).state is ResourceState.FAILED
    assert qemu.find(NAME) == {pid}
    guest.daemon.virsh("destroy", NAME)


async def test_a_disk_that_is_open_for_writing_elsewhere_is_not_opened_a_second_time(guest: Guest) -> None:
    with guest.image.open("r+b"):
        assert "open for writing by" in guest.findings()
        with pytest.raises(RefusedError, match="open for writing by"):
            await guest.resource.start()
    assert qemu.find(NAME) == frozenset()


async def test_qemu_itself_opens_no_disk_that_another_qemu_has_locked(guest: Guest) -> None:
    """The last guard, and on shared storage the one that knows of processes of the other node."""
    other = f"{NAME}-twin"
    twin = guest.folder.parent / f"{other}.xml"
    twin.write_text(guest.file.read_text().replace(f">{NAME}<", f">{other}<").replace("-0002-", "-0003-"))
    async with guest.started():
        with pytest.raises(ConfigError, match=r"lock"):
            await Libvirt(guest.daemon.uri, other).create(twin)
        assert qemu.find(other) == frozenset()


async def test_a_start_of_an_earlier_epoch_is_refused(guest: Guest) -> None:
    guest.context = a_context(guest.folder.parent, name=NAME, node="node2")
    later = guest.resource
    later.change = Transition("WAIT", "ALONE", "takeover", 7)
    await later.start()
    await later.stop(True)
    earlier = guest.resource
    earlier.change = Transition("WAIT", "PRIM", "start", 6)
    with pytest.raises(RefusedError, match=r"node2 started vm-.* in epoch 7"):
        await earlier.start()
    assert qemu.find(NAME) == frozenset()


async def test_a_directory_that_is_not_replicated_is_refused(guest: Guest) -> None:
    guest.settings = {"storage": "replicated"}
    with pytest.raises(RefusedError, match="is not replicated"):
        await guest.resource.start()


async def test_the_secondary_of_a_replicated_directory_is_refused(guest: Guest) -> None:
    (guest.folder / "README.safekit").touch()
    with pytest.raises(RefusedError, match="belongs to the other node"):
        await guest.resource.start()


async def test_a_stop_ends_qemu_while_libvirt_is_silent(guest: Guest) -> None:
    async with guest.started():
        guest.settings = {"uri": "qemu+unix:///system?socket=/nonexistent"}
        await guest.resource.stop(False)
        assert qemu.find(NAME) == frozenset()
    assert any("libvirt does not answer" in line for line in guest.context.lines)


async def test_the_end_of_qemu_is_told_at_once_and_a_suspended_guest_is_unknown(guest: Guest) -> None:
    async with guest.started() as resource, contextlib.aclosing(resource.watch()) as said:  # type: ignore[type-var]
        assert (await anext(said)).health is Health.UP
        guest.daemon.virsh("suspend", NAME)
        await _until(said, Health.UNKNOWN, "suspended the guest")
        guest.daemon.virsh("resume", NAME)
        await _until(said, Health.UP, "running")
        [pid] = qemu.find(NAME)
        os.kill(pid, signal.SIGKILL)
        await _until(said, Health.DOWN, "has ended")


async def _until(said: AsyncIterator[Verdict], health: Health, words: str) -> None:
    async with asyncio.timeout(20):
        async for verdict in said:
            if verdict.health is health and words in verdict.reason:
                return


@pytest.mark.long
async def test_a_disk_grows_and_a_snapshot_is_made_while_it_runs(guest: Guest) -> None:
    guest.write(change=lambda text: text.replace("type='raw'", "type='qcow2'"))
    image = str(guest.image)
    run_here("qemu-img", "create", "-q", "-f", "qcow2", image, "1M")
    async with guest.started():
        guest.daemon.virsh("blockresize", NAME, "vda", "4M")
        guest.daemon.virsh("snapshot-create-as", NAME, "before")
        await guest.resource.stop(False)
        await guest.resource.start()
        assert "before" in run_here("qemu-img", "snapshot", "-U", "-l", image)
        assert "4194304" in guest.daemon.virsh("domblkinfo", NAME, "vda")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("type='qemu'", "type='xen'", "of type 'xen'"),
        ("i440fx-7.2", "i440fx-1.0", "QEMU here cannot be a 'pc-i440fx-1.0'"),
        ("<source file='{image}'/>", "<source file='/var/tmp/elsewhere.img'/>", "outside of"),
        ("<target dev='vda'", "<shareable/><target dev='vda'", "is shareable"),
        ("cache='none'", "cache='unsafe'", "has cache='unsafe'"),
        ("<memballoon", "<interface type='bridge'><source bridge='nowhere0'/></interface><memballoon", "no bridge"),
        (
            "<memballoon",
            "<interface type='network'><source network='none'/></interface><memballoon",
            "no network 'none'",
        ),
        ("<memballoon", "<hostdev mode='subsystem' type='usb'/><memballoon", "passed through"),
        ("<memballoon", "<tpm model='tpm-crb'><backend type='emulator'/></tpm><memballoon", "state of <tpm>"),
        ("<devices>", "<cpu mode='custom'><model>nonesuch</model></cpu><devices>", "processor lacks"),
        ("hvm</type>", "hvm</type><kernel>/nonexistent/vmlinuz</kernel>", "not on this node"),
    ],
    ids=[
        "type",
        "machine",
        "outside",
        "shareable",
        "unsafe",
        "bridge",
        "network",
        "passthrough",
        "tpm",
        "cpu",
        "kernel",
    ],
)
def test_what_would_fail_is_found_by_plan(guest: Guest, old: str, new: str, words: str) -> None:
    assert guest.findings() == ""
    guest.write(change=lambda text: text.replace(old.format(image=guest.image), new))
    assert words in guest.findings()


def test_what_the_guest_needs_is_looked_for_where_its_definition_is_not_yet(guest: Guest) -> None:
    guest.file.unlink()
    assert guest.findings() == ""
    guest.settings = {"needs": {"type": "qemu", "machine": "pc-i440fx-1.0"}}
    assert "cannot be a 'pc-i440fx-1.0'" in guest.findings()
    guest.settings = {"needs": {"type": "qemu", "bridges": ["nowhere0"], "networks": ["none"]}}
    assert "no bridge 'nowhere0'" in guest.findings()
    assert "no network 'none'" in guest.findings()
    guest.settings = {"needs": {"type": "qemu", "cpu": "qemu64"}}
    assert guest.findings() == ""
    guest.settings = {"needs": {"type": "qemu", "cpu": "qemu64", "features": ["vmx"]}}
    assert "processor lacks" in guest.findings()


def test_a_device_of_kvm_on_a_processor_that_does_not_virtualize_is_noted(guest: Guest) -> None:
    assert has_no_virtualization("processor : 0\nflags\t\t: fpu sse2 hypervisor\n")
    assert not has_no_virtualization("processor : 0\nflags\t\t: fpu svm sse2\n")
    assert not has_no_virtualization("processor : 0\nFeatures : fp asimd\n"), "another architecture"
    guest.write(change=lambda text: text.replace("type='qemu'", "type='kvm'"))
    notes = "; ".join(KvmVmResource.examine(guest.config, guest.context, ()).notes)
    here = Path("/proc/cpuinfo").read_text()
    assert ("neither vmx nor svm" in notes) == has_no_virtualization(here)


def test_a_node_without_libvirt_is_found_by_plan(guest: Guest) -> None:
    guest.settings = {"uri": "qemu+unix:///system?socket=/nonexistent"}
    assert "libvirt does not answer" in guest.findings()


def test_a_missing_image_and_a_definition_that_is_none_are_found_by_plan(guest: Guest) -> None:
    guest.image.unlink()
    assert "is not there; the definition names it" in guest.findings()
    guest.file.write_text("<domain>")
    assert "no XML" in guest.findings()


async def test_a_start_without_any_definition_says_where_to_begin(guest: Guest) -> None:
    guest.file.unlink()
    with pytest.raises(ConfigError, match="libvirt knows no") as told:
        await guest.resource.start()
    assert "on the node that has the guest" in told.value.hint


def test_a_bound_that_leaves_no_time_to_switch_off_is_refused() -> None:
    with pytest.raises(ValueError, match="too short for move 1m and shutdown 2m"):
        KvmVmConfig.model_validate({"domain": "vm1", "directory": "/srv/vm1", "stop_timeout": "2m"})
