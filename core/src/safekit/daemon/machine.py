"""What is known of this machine whether safekitd runs or not. Blocking: for a thread, or for a command."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distributions, version
from typing import Final

from safekit.bus import keys
from safekit.config.cluster import Cluster
from safekit.config.compiled import CompiledModule
from safekit.daemon.certificates import certificates
from safekit.diagnosis.facts import CertificateFacts, DiskFacts, FileTrouble, MachineFacts
from safekit.settings import Settings
from safekit_sdk import SafekitError

GROUPS: Final = "safekit."
"""How the entry-point groups of plugins begin."""


def machine_facts(settings: Settings, modules: Iterable[CompiledModule]) -> MachineFacts:
    return MachineFacts(
        version=_installed(),
        plugins=dict(_plugins()),
        disks=tuple(_disks(settings)),
        files=tuple(_files(settings)),
        watchdog=settings.watchdog,
        watchdog_device=str(settings.watchdog_device),
        watchdog_present=settings.watchdog_device.exists(),
        self_fence=settings.self_fence,
        sysrq=str(settings.sysrq),
        sysrq_writable=os.access(settings.sysrq, os.W_OK),
        certificates=tuple(found for module in modules for found in _certificates(module)),
    )


def _installed() -> str:
    try:
        return version("safekit")
    except PackageNotFoundError:
        return ""


def _plugins() -> Iterator[tuple[str, str]]:
    """From the packages' metadata: no code of theirs runs."""
    for package in distributions():
        for entry in package.entry_points:
            if entry.group.startswith(GROUPS):
                yield f"{entry.group} {entry.name}", f"{package.name} {package.version}"


def _disks(settings: Settings) -> Iterator[DiskFacts]:
    """Each file system once, by the first of our folders on it."""
    seen = set()
    for path in (settings.var, settings.etc, settings.log):
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        found, device = os.statvfs(there), there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        yield DiskFacts(
            path=str(path),
            total_bytes=(found.f_blocks - found.f_bfree + found.f_bavail) * found.f_frsize,
            free_bytes=found.f_bavail * found.f_frsize,
            files=found.f_files,
            files_free=found.f_favail,
            read_only=bool(found.f_flag & os.ST_RDONLY),
        )


def _files(settings: Settings) -> Iterator[FileTrouble]:
    """The key and the cluster file, as a daemon that starts would read them."""
    try:
        pair, cluster = keys.load(settings.key_file), Cluster.load(settings.cluster_file)
    except SafekitError as error:
        place = f"{error.where}: " if error.where else ""
        yield FileTrouble(trouble=f"{place}{error.message}"[:4000], mend=error.hint)
    else:
        if all(node.public_key != pair.public for node in cluster.nodes):
            yield FileTrouble(
                trouble=f"{settings.cluster_file}: this node's key is not in it",
                mend="let the node join again: `safekit cluster join TOKEN`",
            )
    for folder in (settings.var, settings.run):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            yield FileTrouble(trouble=f"{folder} cannot be written", mend=f"`ls -ld {folder}`")
    if settings.etc.exists() and settings.etc.stat().st_mode & 0o022:
        yield FileTrouble(
            trouble=f"{settings.etc} can be written by others than root", mend=f"`chmod go-w {settings.etc}`"
        )


def _certificates(module: CompiledModule) -> Iterator[CertificateFacts]:
    entries = [*module.steps, *module.checkers, *([module.witness] if module.witness is not None else [])]
    return certificates(module.name, [entry.effective for entry in entries])
