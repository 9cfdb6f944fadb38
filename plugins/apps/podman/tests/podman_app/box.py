"""A real Podman with a store of the test's own, and an image that is made of busybox alone: nothing is fetched."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safekit_podman import PodmanApp

from safekit_sdk import Health
from safekit_sdk.testing import watched

IMAGE = "localhost/box"
LIMITS = ["--network=host", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
"""The machine's own limits may be lower than those that Podman would set."""
WORK = ["/bin/sh", "-c", "trap 'exit 0' TERM; echo begun; while :; do sleep 0.1; done"]


@dataclass
class Box:
    place: Path

    @property
    def engine(self) -> list[str]:
        store = ["--root", f"{self.place}/store", "--runroot", f"{self.place}/run", "--storage-driver=vfs"]
        return ["podman", *store, "--runtime=/usr/sbin/runc", "--cgroup-manager=cgroupfs"]

    @property
    def settings(self) -> dict[str, Any]:
        what = {"image": IMAGE, "options": LIMITS, "command": WORK, "engine": self.engine}
        return {**what, "interval": "200ms", "fall": 2, "start_timeout": "30s", "stop_timeout": "20s"}

    def podman(self, *words: str) -> str:
        done = subprocess.run([*self.engine, *words], capture_output=True, text=True, check=False, timeout=60)
        return done.stdout.strip()


async def fall_ill_and_die(app: PodmanApp, well: Path) -> int:
    """Started, and healthy as long as the file is there: what its watch says as that goes, and its process. Return the
    number of that process."""
    async with watched(app) as said:
        await said.becomes(Health.UP)
        await asyncio.to_thread(well.unlink)
        assert "/bin/test fails" in (await said.becomes(Health.DOWN)).reason
        await asyncio.to_thread(well.touch)
        await said.becomes(Health.UP)
        main = app._started()[0].processes.main()
        assert main is not None
        os.kill(main, signal.SIGKILL)
        assert str(main) in (await said.becomes(Health.DOWN)).reason
    return main


def make(place: Path) -> Box:
    """Busybox's programs by their names, in one layer."""
    made = Box(place)
    programs = place / "image" / "bin"
    programs.mkdir(parents=True)
    shutil.copy("/bin/busybox", programs / "busybox")
    for name in ("sh", "sleep", "test", "touch", "cat"):
        (programs / name).symlink_to("busybox")
    subprocess.run(["tar", "-C", str(programs.parent), "-cf", str(place / "image.tar"), "."], check=True)
    made.podman("import", str(place / "image.tar"), IMAGE)
    return made


def remove(made: Box) -> None:
    made.podman("rm", "--force", "--all", "--time=0")
    made.podman("system", "reset", "--force")
