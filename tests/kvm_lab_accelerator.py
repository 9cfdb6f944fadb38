"""What runs the guests' processors on this machine."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from safekit_lab.node import Node

DEVICE = Path("/dev/kvm")


@functools.cache
def accelerator() -> str:
    """libvirt's word: `kvm`, or `qemu` for emulated processors (TCG).

    That the device opens says nothing: one of KVM_PVM does, as on machines that are guests themselves, and a guest that
    is not made for it stands still in its firmware."""
    flags = next((line.split() for line in Path("/proc/cpuinfo").read_text().splitlines() if line[:5] == "flags"), [])
    return "kvm" if {"vmx", "svm"} & set(flags) and os.access(DEVICE, os.R_OK | os.W_OK) else "qemu"


def said() -> str:
    return "the guests run by KVM" if accelerator() == "kvm" else "the guests are emulated (TCG): KVM does not serve"


def provide(node: Node) -> None:
    """A node of the lab has no device of its own."""
    if accelerator() == "kvm":
        device = DEVICE.stat().st_rdev
        node.run(["mknod", "-m", "666", str(DEVICE), "c", str(os.major(device)), str(os.minor(device))])
