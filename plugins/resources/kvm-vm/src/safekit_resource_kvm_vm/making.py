"""A definition for a disk image that no domain of libvirt has yet."""

from __future__ import annotations

import json
import subprocess
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.libvirt import clean_environment
from safekit_sdk import ConfigError

ASK_S: Final = 30.0
FORMATS: Final = ("raw", "qcow2")
AGENT: Final = "org.qemu.guest_agent.0"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A machine with what finds a hung guest: panic device, watchdog, channel of the guest agent."""

    name: str
    image: Path
    memory_mib: int
    processors: int
    bridge: str
    emulated: bool = False

    def definition(self) -> Definition:
        """ConfigError where the image is none."""
        root = ET.Element("domain", type="qemu" if self.emulated else "kvm")
        ET.SubElement(root, "name").text = self.name
        ET.SubElement(root, "uuid").text = str(uuid.uuid4())
        ET.SubElement(root, "memory", unit="MiB").text = str(self.memory_mib)
        ET.SubElement(root, "vcpu").text = str(self.processors)
        ET.SubElement(ET.SubElement(root, "os"), "type", arch="x86_64", machine="q35").text = "hvm"
        ET.SubElement(ET.SubElement(root, "features"), "acpi")
        if not self.emulated:
            ET.SubElement(root, "cpu", mode="host-model")
        ET.SubElement(root, "on_crash").text = "preserve"
        self._add_devices(ET.SubElement(root, "devices"))
        return Definition.parse(ET.tostring(root, encoding="unicode") + "\n", self.name)

    def _add_devices(self, devices: ET.Element) -> None:
        disk = ET.SubElement(devices, "disk", type="file", device="disk")
        ET.SubElement(disk, "driver", name="qemu", type=format_of(self.image), cache="none")
        ET.SubElement(disk, "source", file=str(self.image))
        ET.SubElement(disk, "target", dev="vda", bus="virtio")
        card = ET.SubElement(devices, "interface", type="bridge")
        ET.SubElement(card, "source", bridge=self.bridge)
        ET.SubElement(card, "model", type="virtio")
        ET.SubElement(devices, "serial", type="pty")
        channel = ET.SubElement(devices, "channel", type="unix")
        ET.SubElement(channel, "target", type="virtio", name=AGENT)
        ET.SubElement(devices, "graphics", type="vnc", autoport="yes", listen="127.0.0.1")
        ET.SubElement(devices, "panic", model="isa")
        ET.SubElement(devices, "watchdog", model="i6300esb", action="pause")
        ET.SubElement(ET.SubElement(devices, "rng", model="virtio"), "backend", model="random").text = "/dev/urandom"


def format_of(image: Path) -> str:
    """As its content says. ConfigError for one that is not there, or that this package does not replicate."""
    argv = ["qemu-img", "info", "-U", "--output=json", str(image)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=ASK_S, check=False, env=clean_environment())
    if done.returncode != 0:
        raise ConfigError(f"{image} is no image: {done.stderr.strip()}", hint="say where the guest's disk is")
    found = str(json.loads(done.stdout)["format"])
    if found not in FORMATS:
        raise ConfigError(f"{image} is of format {found}", hint=f"`qemu-img convert -O qcow2 {image} NEW.qcow2`")
    return found
