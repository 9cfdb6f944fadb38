"""A domain's definition, libvirt's XML: what of it matters here."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from safekit_sdk import ConfigError

SIZE_MAX: Final = 1 << 20
_PLACES: Final = {"file": "file", "block": "dev"}
"""The attribute of a disk's source that says where it is, by type."""
_OWN: Final = "https://safekit.example/kvm-vm"
"""The name space of what is kept in the definition's metadata."""
ET.register_namespace("safekit", _OWN)


@dataclass(frozen=True, slots=True)
class Disk:
    target: str
    device: str
    kind: str
    """`file`, `block`, `network`, `volume`…"""
    format: str
    path: Path | None
    writable: bool
    shared: bool
    cache: str


class Source(NamedTuple):
    kind: str
    place: str
    format: str


@dataclass(frozen=True, slots=True)
class Definition:
    text: str
    root: ET.Element

    @classmethod
    def parse(cls, text: str, where: str) -> Definition:
        """ConfigError unless it is the definition of a domain."""
        try:
            root = ET.fromstring(text)
        except ET.ParseError as error:
            raise ConfigError(f"no XML: {error}", where=where, hint="mend it; `virt-xml-validate` helps") from None
        if root.tag != "domain" or not root.findtext("name") or not root.findtext("uuid"):
            hint = "`virsh dumpxml --inactive --security-info DOMAIN` writes one"
            raise ConfigError("it is not the definition of a domain with a name and a uuid", where=where, hint=hint)
        return cls(text, root)

    @classmethod
    def read(cls, path: Path) -> Definition:
        """FileNotFoundError when there is none."""
        with path.open(encoding="utf-8", errors="strict") as file:
            text = file.read(SIZE_MAX + 1)
        if len(text) > SIZE_MAX:
            raise ConfigError(f"it has more than {SIZE_MAX} characters", where=str(path), hint="is it another file?")
        return cls.parse(text, str(path))

    def write(self, path: Path) -> None:
        """At once or not at all, and on the disk. It may block: a replicated directory waits for the other node."""
        fresh = path.with_name(f".{path.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(self.text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @property
    def name(self) -> str:
        return (self.root.findtext("name") or "").strip()

    @property
    def uuid(self) -> str:
        return (self.root.findtext("uuid") or "").strip().lower()

    @property
    def memory_bytes(self) -> int:
        """Where libvirt wrote the definition, which counts in KiB."""
        return int(self.root.findtext("memory") or "0") << 10

    @property
    def disks(self) -> tuple[Disk, ...]:
        return tuple(disk for disk, _ in self._pairs())

    @property
    def images(self) -> tuple[Path, ...]:
        """The files that the guest may write."""
        return tuple(disk.path for disk in self.disks if disk.path is not None and disk.writable)

    @property
    def state_files(self) -> tuple[Path, ...]:
        """What it writes besides its disks: the variables of its firmware."""
        nvram = self.root.findtext("os/nvram")
        return (Path(nvram.strip()),) if nvram and nvram.strip() else ()

    @property
    def written(self) -> tuple[Path, ...]:
        return (*self.images, *self.state_files)

    @property
    def bases(self) -> tuple[Path, ...]:
        """What the images build on, where the definition says it, as that of a running guest does."""
        sources = self.root.iterfind("devices/disk//backingStore/source")
        return tuple(Path(place) for source in sources if (place := source.get("file")))

    @property
    def sources(self) -> dict[str, Source]:
        """By the disk's target, of those that the guest may write."""
        elements = {disk.target: element for disk, element in self._pairs() if disk.writable}
        return {target: _source(element) for target, element in elements.items()}

    def with_sources(self, sources: Mapping[str, Source]) -> Definition:
        """The same, with other files behind some of its disks."""
        changed = Definition(self.text, ET.fromstring(self.text))
        for disk, element in changed._pairs():
            if disk.writable and disk.target in sources and sources[disk.target] != _source(element):
                _set_source(element, sources[disk.target])
        return Definition.parse(ET.tostring(changed.root, encoding="unicode") + "\n", self.name)

    def _pairs(self) -> Iterator[tuple[Disk, ET.Element]]:
        return ((_disk(element), element) for element in self.root.iterfind("devices/disk"))

    @property
    def has_agent(self) -> bool:
        targets = self.root.iterfind("devices/channel/target")
        return any(target.get("name") == "org.qemu.guest_agent.0" for target in targets)

    @property
    def was_autostarted(self) -> bool:
        """Whether libvirt started it by itself before it was taken over."""
        return self.root.find(f"metadata/{{{_OWN}}}taken-over[@autostart='yes']") is not None

    def taken_over(self, *, autostart: bool) -> Definition:
        """The same, with the mark of what libvirt did before."""
        root = ET.fromstring(self.text)
        metadata = root.find("metadata")
        if metadata is None:
            metadata = ET.SubElement(root, "metadata")
        for old in metadata.findall(f"{{{_OWN}}}taken-over"):
            metadata.remove(old)
        ET.SubElement(metadata, f"{{{_OWN}}}taken-over", autostart="yes" if autostart else "no")
        return Definition.parse(ET.tostring(root, encoding="unicode") + "\n", self.name)

    def is_like(self, other: Definition) -> bool:
        """Whether they say the same, apart from white space and from the mark."""
        return self._plain() == other._plain()

    def _plain(self) -> str:
        text = ET.canonicalize(self.text, strip_text=True)
        root = ET.fromstring(text)
        for metadata in root.findall("metadata"):
            for mark in metadata.findall(f"{{{_OWN}}}taken-over"):
                metadata.remove(mark)
            if len(metadata) == 0:
                root.remove(metadata)
        return ET.canonicalize(ET.tostring(root, encoding="unicode"), strip_text=True)

    def elements(self, path: str) -> Iterator[ET.Element]:
        return self.root.iterfind(path)


def _disk(element: ET.Element) -> Disk:
    source, driver, target = (element.find(tag) for tag in ("source", "driver", "target"))
    path = source.get("file") if source is not None else None
    device = element.get("device", "disk")
    return Disk(
        target=target.get("dev", "?") if target is not None else "?",
        device=device,
        kind=element.get("type", "file"),
        format=driver.get("type", "raw") if driver is not None else "raw",
        path=Path(path) if path else None,
        writable=element.find("readonly") is None and device in ("disk", "lun"),
        shared=element.find("shareable") is not None,
        cache=driver.get("cache", "default") if driver is not None else "default",
    )


def _source(element: ET.Element) -> Source:
    kind, source, driver = element.get("type", "file"), element.find("source"), element.find("driver")
    place = source.get(_PLACES.get(kind, "name"), "") if source is not None else ""
    return Source(kind, place, driver.get("type", "raw") if driver is not None else "raw")


def _set_source(element: ET.Element, wanted: Source) -> None:
    """What it builds on is found out anew, in the file itself."""
    for tag in ("source", "backingStore"):
        for old in element.findall(tag):
            element.remove(old)
    element.set("type", wanted.kind)
    ET.SubElement(element, "source", {_PLACES.get(wanted.kind, "name"): wanted.place})
    driver = element.find("driver")
    if driver is None:
        driver = ET.SubElement(element, "driver", name="qemu")
    driver.set("type", wanted.format)
