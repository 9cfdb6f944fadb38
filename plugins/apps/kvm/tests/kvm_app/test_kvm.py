"""The module files that it makes, of domains of a real libvirt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safekit_kvm import KvmApp, KvmConfig

from safekit_sdk import ConfigError, ModuleRequest, ResourceState
from safekit_sdk.testing import a_context
from safekit_sdk.testing.conformance.app import check_entry

DISK = "<disk type='{kind}' device='disk'><source {source}/><target dev='vd{letter}' bus='virtio'/></disk>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "vm1"
    place.mkdir()
    return place


class Libvirt:
    """The program's own test driver, with domains from a file: real `virsh`, no machine is started."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "domains.xml"

    @property
    def uri(self) -> str:
        return f"test://{self._file}"

    def define(self, *disks: str, more: str = "") -> None:
        devices = f"<devices>{''.join(disks)}</devices>"
        machine = f"<name>vm1</name><memory>8192</memory><os><type>hvm</type></os>{more}"
        domain = f"<domain type='test'>{machine}{devices}</domain>"
        self._file.write_text(f"<node>{domain}</node>")


@pytest.fixture
def libvirt(tmp_path: Path) -> Libvirt:
    return Libvirt(tmp_path)


def image(path: Path, letter: str = "a") -> str:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.touch()
    return DISK.format(kind="file", source=f"file='{path}'", letter=letter)


def added(libvirt: Libvirt, name: str = "vm1", port: int | None = None, kind: Any = "mirror", **options: str) -> Any:
    request = ModuleRequest(name, kind, (), port, options={"uri": libvirt.uri, **options})
    content = KvmApp.module_file(request)
    for step in content["pipeline"]:
        check_entry(step, "safekit.resources")
    for entry in content.get("checkers", ()):
        check_entry(entry, "safekit.checkers")
    return content


def test_the_directory_of_the_disks_is_replicated_before_the_guest_starts(libvirt: Libvirt, folder: Path) -> None:
    libvirt.define(image(folder / "system.img"), image(folder / "data.qcow2", "b"))
    place = str(folder)
    assert added(libvirt)["pipeline"] == [
        {"rfs": {"directory": place}},
        {"kvm-vm": {"domain": "vm1", "directory": place, "uri": libvirt.uri}},
    ]


def test_what_the_other_node_must_have_is_in_the_module_file_so_that_its_plan_can_look(
    libvirt: Libvirt, folder: Path
) -> None:
    cards = "<interface type='{0}'><source {0}='{1}'/></interface>"
    libvirt.define(image(folder / "vm1.img"), cards.format("bridge", "br0"), cards.format("network", "lan"))
    [_, step] = added(libvirt)["pipeline"]
    assert step["kvm-vm"]["needs"] == {"bridges": ["br0"], "networks": ["lan"]}


def test_so_is_the_processor_that_its_definition_names(libvirt: Libvirt, folder: Path) -> None:
    cpu = "<cpu mode='custom' match='exact'><model>Nehalem</model>{}</cpu>"
    features = "<feature policy='require' name='aes'/><feature policy='disable' name='vmx'/>"
    libvirt.define(image(folder / "vm1.img"), more=cpu.format(features))
    [_, step] = added(libvirt)["pipeline"]
    assert step["kvm-vm"]["needs"] == {"cpu": "Nehalem", "features": ["aes"]}


def test_an_address_and_a_port_become_a_check_that_leaves_time_to_boot(libvirt: Libvirt, folder: Path) -> None:
    libvirt.define(image(folder / "vm1.img"))
    [check] = added(libvirt, port=22, address="10.0.0.7", priority="5")["checkers"]
    assert check == {"tcp": {"name": "guest", "host": "10.0.0.7", "port": 22, "fall": 3, "start_after": "2m"}}


def test_a_directory_with_the_disks_of_others_is_not_taken_unasked(libvirt: Libvirt, folder: Path) -> None:
    libvirt.define(image(folder / "vm1.img"))
    (folder / "vm2.img").touch()
    with pytest.raises(ConfigError, match=r"holds more than the disks of vm1: vm2\.img") as told:
        added(libvirt)
    assert f"mkdir -p {folder / 'vm1'}" in told.value.hint
    assert added(libvirt, directory=str(folder))["pipeline"][0] == {"rfs": {"directory": str(folder)}}


def test_disks_in_several_directories_are_to_be_moved_into_one(libvirt: Libvirt, tmp_path: Path) -> None:
    libvirt.define(image(tmp_path / "one" / "a.img"), image(tmp_path / "two" / "b.img", "b"))
    with pytest.raises(ConfigError, match="several directories"):
        added(libvirt)
    with pytest.raises(ConfigError, match=r"two/b\.img is not in"):
        added(libvirt, directory=str(tmp_path / "one"))


def test_a_disk_that_is_no_file_is_refused(libvirt: Libvirt) -> None:
    libvirt.define(DISK.format(kind="block", source="dev='/dev/sdb'", letter="a"))
    with pytest.raises(ConfigError, match="disk vda of vm1 is of type block"):
        added(libvirt)


def test_an_unknown_domain_is_answered_with_those_that_there_are(libvirt: Libvirt, folder: Path) -> None:
    libvirt.define(image(folder / "vm1.img"))
    with pytest.raises(ConfigError, match="no domain 'vm2' on this node; it has: vm1"):
        added(libvirt, name="vm2")


@pytest.mark.parametrize("asked", [{"kind": "farm"}, {"kind": "light"}, {"port": 22}, {"address": "10.0.0.7"}], ids=str)
def test_what_cannot_be_meant_is_refused_with_what_to_do(libvirt: Libvirt, folder: Path, asked: dict[str, Any]) -> None:
    libvirt.define(image(folder / "vm1.img"))
    with pytest.raises(ConfigError) as told:
        added(libvirt, **asked)
    assert told.value.hint


def test_an_address_of_a_farm_is_not_wanted() -> None:
    with pytest.raises(ConfigError, match="its own address"):
        KvmApp.module_file(ModuleRequest("vm1", "mirror", ("10.0.0.100/24",)))


async def test_it_is_no_step(tmp_path: Path) -> None:
    app = KvmApp(KvmConfig(), a_context(tmp_path))
    assert "no step" in KvmApp.preflight(app.config, "mirror")[0]
    with pytest.raises(ConfigError, match="no step"):
        await app.start()
    await app.stop(True)
    assert (await app.status()).state is ResourceState.STOPPED
