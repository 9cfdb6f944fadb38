"""Which files a running guest's disks are: a live snapshot, as backup programs make, lets it write into others.

libvirt changes the definition of the run only. What has not come into the one beside the disks is not started from, and
all that the guest wrote since would be missing. So it is written there as soon as it is seen; and where nobody saw it,
because the node crashed before, a start does not guess.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_resource_kvm_vm.config import KvmVmConfig
from safekit_resource_kvm_vm.definition import Definition, Source
from safekit_resource_kvm_vm.guard import Guard, lies_in
from safekit_resource_kvm_vm.libvirt import Libvirt

FILES_MAX: Final = 10_000
CHAIN_MAX: Final = 100
_HEAD: Final = struct.Struct(">4sIQI")
"""qcow2's: magic, version, where the name of the file that it builds on is, and how long."""
_MAGIC: Final = b"QFI\xfb"
_NAME_MAX: Final = 1023


@dataclass(frozen=True, slots=True)
class Sources:
    config: KvmVmConfig
    libvirt: Libvirt
    guard: Guard
    mark: Path
    """Has those that were seen last, while the guest runs on this node because of its module."""
    log: Callable[[str], None]

    def note(self, sources: Mapping[str, Source]) -> None:
        self.mark.touch(mode=0o600)
        self.mark.write_text(json.dumps(sources))

    async def take(self) -> str:
        """What changed in the run counts for the next start too. What is wrong with it: empty when nothing is."""
        live = (await self.libvirt.live_definition()).sources
        ours = Definition.read(self.config.definition)
        known = self._known() or ours.sources
        changed = {target: source for target, source in live.items() if known.get(target, source) != source}
        if changed:
            self.guard.storage()
            await asyncio.to_thread(ours.with_sources(changed).write, self.config.definition)
            self.note({**known, **changed})
            shown = ", ".join(f"{target}: {source.place}" for target, source in changed.items())
            self.log(f"{self.config.definition} has the disks that the running guest was given: {shown}")
        return "; ".join(self._astray({target: live[target] for target in known if target in live}))

    def _known(self) -> dict[str, Source]:
        """What the mark has; nothing where it cannot be read."""
        try:
            return {
                str(target): Source(*map(str, source)) for target, source in json.loads(self.mark.read_text()).items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _astray(self, sources: Mapping[str, Source]) -> Iterator[str]:
        for target, source in sources.items():
            if source.kind != "file" or not lies_in(Path(source.place), self.config.directory):
                yield (
                    f"since a snapshot the guest writes disk {target} to {source.place}, outside of "
                    f"{self.config.directory}, which the other node has not got; "
                    f"`virsh blockcommit {self.config.domain} {target} --active --pivot`"
                )


def doubts(definition: Definition, directory: Path) -> Iterator[str]:
    """Whether the definition names the files that the guest wrote last."""
    yield from _unrecorded(definition, directory)
    for image in definition.images:
        yield from _overtaken(image)


def _overtaken(image: Path) -> Iterator[str]:
    """What an image builds on is written while it is committed into it, and by the guest from the end of that on. If
    nobody saw that end, the image is an old one."""
    chain = [image]
    while len(chain) < CHAIN_MAX and (base := _base(chain[-1])) and Path(base).is_file():
        chain.append(Path(base))
    for above, below in itertools.pairwise(chain):
        if below.stat().st_mtime_ns > above.stat().st_mtime_ns:
            yield (
                f"{below} was written after {above}, which builds on it: if a `virsh blockcommit` had ended with its "
                f"pivot, name {below} in the definition; if it was cut off, or is none, `touch {above}`"
            )


def _unrecorded(definition: Definition, directory: Path) -> Iterator[str]:
    """Files that build on a disk of the definition and were written after it: a guest whose snapshot nobody saw wrote
    there, and the definition names the disk of before."""
    images = {os.path.realpath(image): image for image in definition.images}
    for path in _files({directory, *(image.parent for image in definition.images)}):
        base = images.get(_base(path) or "") if os.path.realpath(path) not in images else None
        if base is not None and path.stat().st_mtime_ns >= base.stat().st_mtime_ns:
            yield (
                f"{path} builds on {base} and was written later: if it is of a snapshot of the guest, name it in the "
                "definition (<source file=…/>, <driver type='qcow2'/>); if not, move it to another directory"
            )


def _files(directories: set[Path]) -> Iterator[Path]:
    for directory in directories:
        if directory.is_dir():
            with os.scandir(directory) as found:
                yield from (Path(entry.path) for entry in itertools.islice(found, FILES_MAX) if entry.is_file())


def _base(path: Path) -> str | None:
    """What an image of qcow2 builds on, as its head says it."""
    try:
        with path.open("rb") as file:
            magic, _, offset, length = _HEAD.unpack(file.read(_HEAD.size))
            if magic != _MAGIC or not offset or not 0 < length <= _NAME_MAX:
                return None
            file.seek(offset)
            name = os.fsdecode(file.read(length)).removeprefix("file:")
    except (OSError, struct.error):
        return None
    return os.path.realpath(path.parent / name)
