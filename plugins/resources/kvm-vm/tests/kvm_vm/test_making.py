"""A disk image of which no domain is known yet becomes one, in a real libvirt."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import Result
from safekit_resource_kvm_vm import commands, qemu
from safekit_resource_kvm_vm.definition import Definition
from typer.testing import CliRunner

from safekit_sdk import ConfigError

from .libvirtd import Libvirtd

NAME = f"made-{os.getpid()}"


def image(folder: Path, form: str, name: str = "disk") -> Path:
    path = folder / f"{name}.{form}"
    subprocess.run(["qemu-img", "create", "-q", "-f", form, path, "1M"], check=True)
    return path


def define(daemon: Libvirtd, path: Path, *more: str) -> Result:
    words = ["define", NAME, "--image", str(path), "--bridge", "lo", "--memory", "32", "--uri", daemon.uri, *more]
    return CliRunner().invoke(commands.app, words)


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_an_image_becomes_a_domain_that_has_what_finds_a_hung_guest(
    daemon: Libvirtd, tmp_path: Path, form: str
) -> None:
    path = image(tmp_path, form)
    done = define(daemon, path, "--emulated", "--processors", "1")
    assert done.exit_code == 0, done.output
    try:
        made = Definition.parse(daemon.virsh("dumpxml", NAME), "libvirt")
        again = define(daemon, path, "--emulated")
    finally:
        daemon.virsh("undefine", NAME)
    [disk] = made.disks
    assert (disk.path, disk.format, disk.cache, disk.writable) == (path, form, "none", True)
    assert made.memory_bytes == 32 << 20
    assert made.has_agent
    assert made.root.find("devices/watchdog[@action='pause']") is not None
    assert made.root.find("devices/panic") is not None
    assert isinstance(again.exception, ConfigError)
    assert "already" in str(again.exception)
    assert qemu.find(NAME) == frozenset(), "nothing is started"


def test_what_is_no_image_of_a_known_format_is_refused(daemon: Libvirtd, tmp_path: Path) -> None:
    wrong = [tmp_path / "missing", Path("disk.raw"), image(tmp_path, "vmdk")]
    said = [str(define(daemon, path).exception) for path in wrong]
    assert ["no image" in said[0], "absolute" in said[1], "format vmdk" in said[2]] == [True] * 3
    assert NAME not in daemon.virsh("list", "--all", "--name")
