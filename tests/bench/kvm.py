"""A guest's disk in a replicated directory beside the same in a plain one, on GlusterFS and mirrored by QEMU; and how
long a guest is away.

`PYTHONPATH=tests:tests/repo:tests/bench python tests/bench/kvm.py` writes build/bench/kvm.json in about ten minutes,
`--short` in four. One guest has disks of all kinds; the rounds take them in turn. It says whether KVM ran the guests or
QEMU emulated them (TCG). `--only` leaves the other figures in the file as they are; `--only many`, for a hundred
guests, is a run of its own of ten minutes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import string
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import figures
import gluster
import kvm_lab
from kvm_lab import DIRECTORY, tell
from kvm_lab_accelerator import accelerator, said
from kvm_lab_many import DEFINED
from kvm_many import measure_many
from kvm_mirror import Mirror
from kvm_outages import measure_outages
from lab_cluster import Cluster

from safekit_lab import Bind
from safekit_lab.node import Node

PLAIN, RFS, GLUSTER, MIRROR = "plain directory", "rfs", "GlusterFS replica 2", "QEMU mirror"
FORMATS = ("raw", "qcow2")
CACHES = ("none", "writethrough", "writeback")
PLACES = {PLAIN: "/srv/plain", RFS: DIRECTORY, GLUSTER: "/srv/gluster", MIRROR: "/srv/mirrored"}
COPIES = "/srv/copies"
WORK = {"write": (4096, 300), "direct": (1 << 20, 32), "read": (1 << 20, 32)}
"""Of the guest's measurements: synced writes, then 1 MiB at a time past the guest's cache; size and count."""
SIZE = "64M"
DISK = """\
<disk type='file' device='disk'><driver name='qemu' type='{form}' cache='{cache}'/>\
<source file='{path}'/><target dev='vd{letter}' bus='virtio'/></disk>"""
MODULE = f"""\
kind: mirror
isolation: availability
pipeline:
  - rfs: {{directory: {DIRECTORY}}}
"""
ROUNDS, OUTAGES = 3, 2
BOOT_S = 120.0


@dataclass(frozen=True, slots=True)
class Disk:
    form: str
    cache: str
    place: str
    letter: str

    @property
    def path(self) -> str:
        return f"{PLACES[self.place]}/{self.letter}.{self.form}"

    @property
    def xml(self) -> str:
        return DISK.format(form=self.form, cache=self.cache, letter=self.letter, path=self.path)


def disks() -> Iterator[Disk]:
    """Other software with the cache that is the default only: a guest has so many slots."""
    letters = iter(string.ascii_lowercase[1:])
    for form, cache, place in itertools.product(FORMATS, CACHES, PLACES):
        if place in (PLAIN, RFS) or cache == "none":
            yield Disk(form, cache, place, next(letters))


def definition(every: Sequence[Disk]) -> str:
    text = kvm_lab.guest().definition(image=f"{PLACES[PLAIN]}/vm1.img", watchdog="")
    return text.replace("</disk>", f"</disk>{''.join(disk.xml for disk in every)}", 1)


def measure_disks(rounds: int) -> list[figures.Figure]:
    every = list(disks())
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="kvm-gluster-", dir="/var/tmp"))
        volume = stack.enter_context(gluster.mounted(Path(place)))
        bind = Bind(source=volume, target=Path(PLACES[GLUSTER]), writable=True)
        made, host = stack.enter_context(kvm_lab.cluster(binds=[bind]))
        _begin(made, host.place, every)
        found = [figure for kind in WORK for figure in _compared(made, every, kind, rounds)]
        made.nodes[0].run(["virsh", "destroy", "vm1"])
        made.safekit(made.nodes[0], "module", "stop", "web", "--all")
    return found


def _begin(made: Cluster, place: Path, every: Sequence[Disk]) -> None:
    first, second = made.nodes
    made.write(first, "/etc/safekit/modules/web/module.yaml", MODULE)
    made.safekit(first, "apply", "web")
    made.safekit(first, "module", "prim", "web", "--force")
    made.safekit(second, "module", "start", "web")
    made.wait(made.is_well, "both run", 60.0)
    for node, directory in ((first, PLACES[PLAIN]), (first, PLACES[MIRROR]), (second, COPIES)):
        _on_the_disk(place, node, directory)
    first.run(["truncate", "-s", str(kvm_lab.DISK_BYTES), f"{PLACES[PLAIN]}/vm1.img"])
    for disk in every:
        first.run(["qemu-img", "create", "-q", "-f", disk.form, disk.path, SIZE])
    made.write(first, "/opt/vm1.xml", definition(every))
    first.run(["virsh", "create", "/opt/vm1.xml"])
    made.wait(lambda: tell(made.lab.client(), "boot", timeout_s=1.0) != "", "the guest answers", BOOT_S)
    Mirror(made, first, second).begin([disk.path for disk in every if disk.place == MIRROR], COPIES, SIZE)


def _on_the_disk(place: Path, node: Node, directory: str) -> None:
    """A node's own root is in memory."""
    name = Path(directory).name
    (place / name).mkdir()
    node.run(["mkdir", "-p", directory])
    node.run(["mount", "--bind", f"/srv/disks/{name}", directory])


def _compared(made: Cluster, every: Sequence[Disk], kind: str, rounds: int) -> Iterator[figures.Figure]:
    """A figure for each format and cache; the first round only warms up."""
    measured = [{disk: _measured(made, kind, disk.letter) for disk in every} for _ in range(rounds + 1)]
    for form, cache in itertools.product(FORMATS, CACHES):
        medians = {
            disk.place: round(statistics.median(each[disk] for each in measured[1:]), 1)
            for disk in every
            if (disk.form, disk.cache) == (form, cache)
        }
        yield figures.Figure(
            name=f"disk.{kind}.{form}.{cache}",
            value=medians.pop(RFS),
            unit="operations/s" if kind == "write" else "MB/s",
            runs=rounds,
            peers=medians,
        )


def _measured(made: Cluster, kind: str, letter: str) -> float:
    size, count = WORK[kind]
    took_s = int(tell(made.lab.client(), f"measure {kind} {size} {count} {letter}", timeout_s=60.0)) / 1e6
    return (count if kind == "write" else count * size / 1e6) / took_s


def measure(asked: argparse.Namespace) -> list[figures.Figure]:
    if asked.only == "many":
        return measure_many(4 if asked.short else DEFINED)
    found = []
    if asked.only != "outages":
        found += measure_disks(1 if asked.short else ROUNDS)
    if asked.only != "disks":
        found += measure_outages(1 if asked.short else OUTAGES)
    return found


def _by_kvm() -> figures.Figure:
    """Whoever reads the times has to know."""
    return figures.Figure(name="accelerator", value=float(accelerator() == "kvm"), unit="1 KVM, 0 TCG", runs=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("disks", "outages", "many"))
    parser.add_argument("--short", action="store_true", help="one round of each, four guests for a hundred")
    found = [_by_kvm(), *measure(parser.parse_args())]
    print(f"\n{said()}\n\n{figures.table(found)}\n\nwritten to {figures.keep('kvm', found)}", flush=True)


if __name__ == "__main__":
    main()
