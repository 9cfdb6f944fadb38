"""A real Docker daemon of the test's own: without networks and rules of its own, so that it touches nothing else."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from podman_app.box import Box

DOCKER = "/usr/bin/docker"
READY_S = 30.0


class DockerBox(Box):
    @property
    def engine(self) -> list[str]:
        return [DOCKER, f"--host=unix://{self.place}/docker.sock"]


@contextlib.contextmanager
def daemon() -> Iterator[DockerBox]:
    with tempfile.TemporaryDirectory(prefix="docker-", dir="/var/tmp") as folder:
        made = DockerBox(Path(folder))
        with (made.place / "log").open("wb") as log:
            process = subprocess.Popen(_argv(made.place), stdout=log, stderr=log)
        try:
            deadline_s = time.monotonic() + READY_S
            while "Server" not in made.podman("version"):
                assert time.monotonic() < deadline_s, (made.place / "log").read_text()[-2000:]
                time.sleep(0.1)
            yield made
        finally:
            made.podman("rm", "--force", *made.podman("ps", "--all", "--quiet").split())
            process.terminate()
            process.wait(30)
            for left in (made.place / "exec" / "netns").glob("*"):
                subprocess.run(["umount", str(left)], check=False)


def _argv(place: Path) -> list[str]:
    places = [f"--data-root={place}/root", f"--exec-root={place}/exec", f"--pidfile={place}/pid"]
    alone = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]
    own = ["--exec-opt=native.cgroupdriver=cgroupfs", f"--host=unix://{place}/docker.sock"]
    return ["/usr/sbin/dockerd", *places, *alone, *own]
