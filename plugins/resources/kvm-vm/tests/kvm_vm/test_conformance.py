"""The promises of every resource, with a real libvirt and QEMU."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_kvm_vm import KvmVmConfig, KvmVmResource, qemu

from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import ResourceConformance

from .libvirtd import Libvirtd, machine

NAME = f"conforms-{os.getpid()}"


@pytest.mark.long
class TestKvmVm(ResourceConformance):
    plugin = KvmVmResource
    watch_patience_s = 10.0

    @pytest.fixture
    def settings(self, daemon: Libvirtd, tmp_path: Path) -> Mapping[str, Any]:
        place = tmp_path / "vm"
        place.mkdir()
        (place / f"{NAME}.xml").write_text(machine(place, NAME))
        return {
            "domain": NAME,
            "directory": str(place),
            "storage": "shared",
            "uri": daemon.uri,
            "shutdown": "50ms",
            "interval": "200ms",
            "booting": "10ms",
        }

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        image = Path(settings["directory"]) / f"{NAME}.img"
        image.unlink()
        return settings

    async def traces(self, config: KvmVmConfig, context: RecordingContext) -> Collection[str]:
        return [str(pid) for pid in qemu.find(config.domain)]

    async def make_broken(self, config: KvmVmConfig, context: RecordingContext) -> None:
        for pid in qemu.find(config.domain):
            os.kill(pid, signal.SIGKILL)
