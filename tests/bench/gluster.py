"""What a user would pick instead for replicated files: GlusterFS, replica 2, both bricks on the same disk.

Its servers run in namespaces of their own, which end with one process; this file is also the program that begins there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ADDRESS = "198.51.100.1"
"""On the loopback device of the servers' network namespace; GlusterFS refuses 127.0.0.1."""
VOLUME = "bench"
PATIENCE_S = 30.0
PRIVATE = ("/run", "/var/lib/glusterd", "/var/log/glusterfs")
"""Where the servers write beside the bricks: in memory, and seen by nobody else."""
GLUSTERD = """volume management
    type mgmt/glusterd
    option working-directory /var/lib/glusterd
    option transport-type socket
    option transport.socket.listen-port 24007
    option ping-timeout 0
    option event-threads 1
    option max-port 60999
end-volume
"""


def begin(place: Path) -> None:
    """In the new namespaces: become glusterd."""
    for directory in PRIVATE:
        subprocess.run(["mount", "-t", "tmpfs", "none", directory], check=True)
    Path("/run/gluster").mkdir()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    (place / "glusterd.vol").write_text(GLUSTERD)
    log = str(place / "glusterd.log")
    os.execvp("glusterd", ["glusterd", "--no-daemon", "-f", str(place / "glusterd.vol"), "-l", log])


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(3.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE_S)


class Servers:
    """glusterd, and what it starts: one for each brick, and the one that heals."""

    def __init__(self, place: Path) -> None:
        self._place = place
        apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        with (place / "servers.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*apart, sys.executable, __file__, str(place)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def first(self) -> str:
        """The process id of the namespaces' first process; an empty text when there is none yet."""
        pid = self.process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()

    def _gluster(self, *words: str) -> int:
        enter = ["nsenter", "--target", self.first(), "--net", "--mount", "--pid"]
        command = [*enter, "gluster", "--mode=script", *words]
        with (self._place / "servers.log").open("ab") as log:
            return subprocess.run(command, check=False, stdout=log, stderr=log, timeout=PATIENCE_S).returncode

    def serve(self, bricks: list[Path]) -> None:
        wait(lambda: self.process.poll() is None and self.first() and not self._gluster("volume", "list"), "glusterd")
        named = [f"{ADDRESS}:{brick}" for brick in bricks]
        for words in (("create", VOLUME, "replica", "2", *named, "force"), ("start", VOLUME)):
            if self._gluster("volume", *words):
                raise RuntimeError((self._place / "servers.log").read_text()[-2000:])

    def mount(self, directory: Path) -> subprocess.Popen[bytes]:
        volume = [f"--volfile-server={ADDRESS}", f"--volfile-id={VOLUME}"]
        log = ["-l", str(self._place / "client.log")]
        return subprocess.Popen(
            ["nsenter", "--target", self.first(), "--net", "glusterfs", "--no-daemon", *volume, *log, str(directory)],
            stdin=subprocess.DEVNULL,
        )


def wait(condition: Callable[[], object], what: str) -> None:
    """Until what it returns is true."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(f"{what}: not within {PATIENCE_S:g} s")
        time.sleep(0.05)


@contextlib.contextmanager
def mounted(place: Path) -> Iterator[Path]:
    """The directory of a volume with the settings that GlusterFS gives a new one."""
    bricks, directory = [place / "brick1", place / "brick2"], place / "mount"
    for each in (*bricks, directory):
        each.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        servers = Servers(place)
        stack.callback(servers.process.wait, PATIENCE_S)
        stack.callback(servers.process.kill)
        servers.serve(bricks)
        client = servers.mount(directory)
        stack.callback(end, client)
        stack.callback(subprocess.run, ["umount", "--lazy", str(directory)], check=False, stderr=subprocess.DEVNULL)
        wait(lambda: os.path.ismount(directory), "the mount of GlusterFS")
        yield directory


if __name__ == "__main__":
    begin(Path(sys.argv[1]))
