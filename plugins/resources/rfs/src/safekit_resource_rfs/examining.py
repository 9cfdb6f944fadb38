"""What this node says of a directory in `safekit plan`, before anything changes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from safekit_resource_rfs import confronting, inventory, plan
from safekit_resource_rfs.config import RfsConfig
from safekit_resource_rfs.fuse.mounting import is_mounted
from safekit_resource_rfs.inventory import Inventory
from safekit_resource_rfs.settings import SETTINGS, Settings
from safekit_sdk import Context, Examination, InternalError

LOOK_S: Final = 6.0
"""For all directories of a module together."""
GENERATION: Final = Path("durable", "generation")


def examine(config: RfsConfig, context: Context, beside: Sequence[RfsConfig]) -> Examination:
    directory = config.directory
    findings = [*plan.findings(directory), *_of_others(directory, context, beside)]
    if is_mounted(directory) or not directory.is_dir():
        return Examination(tuple(findings))
    findings += plan.claimed(directory, context.module, context.name)
    try:
        found = inventory.look(directory, plan.OWN_FOLDER, LOOK_S / (1 + len(beside)))
    except OSError as error:
        return Examination((*findings, f"{_shown(directory)} cannot be listed: {error.strerror}; mend it"))
    findings += [
        f"{_shown(inner)} in {_shown(directory)} is replicated already, or was; one of the two is enough"
        for inner in found.replicated[: inventory.MAX_OWNERS]
    ]
    side = _side(directory, found, was_synchronised=_was_synchronised(context.state_dir))
    facts = {confronting.FACT: side.model_dump_json()}
    return Examination(tuple(findings), tuple(_notes(config, context, found)), facts)


def _side(directory: Path, found: Inventory, *, was_synchronised: bool) -> confronting.Side:
    """What the other node's `plan` is told."""
    system = os.statvfs(directory)
    return confronting.Side(
        entries=found.entries,
        size_bytes=found.size_bytes,
        free_bytes=system.f_bavail * system.f_frsize,
        was_synchronised=was_synchronised,
        users=_names(found.users, inventory.all_users()),
        groups=_names(found.groups, inventory.all_groups()),
    )


def _names(owning: set[int], known: dict[str, int]) -> confronting.Names:
    names = {number: name for name, number in reversed(known.items())}
    owners = {names[number]: number for number in sorted(owning)[: confronting.MAX_NAMES] if number in names}
    told = dict(list(known.items())[: confronting.MAX_NAMES])
    return confronting.Names(owning=owners, known=told, is_whole=len(told) == len(known))


def _of_others(directory: Path, context: Context, beside: Sequence[RfsConfig]) -> Iterator[str]:
    """Directories of this module's other resources, and of data paths that run on this node."""
    for other in beside:
        yield from _overlap(directory, other.directory, "another rfs of this module")
    for path in sorted(context.run_dir.parent.parent.glob(f"*/rfs.*/{SETTINGS}")):
        try:
            running = Settings.read(path)
        except InternalError:
            continue
        if running.module != context.module:
            whose = f"the module '{running.module}' (rfs '{running.name}')"
            yield from _overlap(directory, running.config.directory, whose)


def _overlap(one: Path, other: Path, whose: str) -> Iterator[str]:
    if one == other:
        yield f"{_shown(one)} is replicated by {whose} as well; give each a directory of its own"
    elif one in other.parents or other in one.parents:
        inner, outer = (one, other) if other in one.parents else (other, one)
        yield (
            f"{_shown(inner)} lies in {_shown(outer)}, and {_shown(other)} is replicated by {whose}; "
            "one of the two is enough"
        )


def _notes(config: RfsConfig, context: Context, found: Inventory) -> Iterator[str]:
    directory = _shown(config.directory)
    system = os.statvfs(config.directory)
    free = _size(system.f_bavail * system.f_frsize)
    if not found.entries:
        yield f"{directory} is empty here; {free} are free for what the other node has"
        yield f"it belongs to {_owners(found)}; the other node needs these names with the same numbers"
        return
    most = "" if found.is_whole else f", at most {_size((system.f_blocks - system.f_bfree) * system.f_frsize)}"
    least = "" if found.is_whole else "at least "
    yield (
        f"{directory} holds {least}{_size(found.size_bytes)}{most} here, in {least}{found.entries:,} files and "
        f"folders; {free} are free. The other node needs as much space as this one's data take"
    )
    yield f"they belong to {_owners(found)}; the other node needs these names with the same numbers"
    if not _was_synchronised(context.state_dir):
        yield _first_time(config, directory)


def _first_time(config: RfsConfig, directory: str) -> str:
    begin = f"{directory} was never synchronised here and is not empty: "
    if config.first_sync == "overwrite":
        return f"{begin}first_sync overwrites it when this node becomes the secondary"
    return (
        f"{begin}if these are the data, make this node primary first; as the secondary it waits for "
        "`safekit rfs sync --from-primary`"
    )


def _owners(found: Inventory) -> str:
    users, groups = inventory.user_names(found.users), inventory.group_names(found.groups)
    return f"user {', '.join(users)}; group {', '.join(groups)}"


def _was_synchronised(state_dir: Path) -> bool:
    """Without touching what a running data path writes."""
    try:
        body = (state_dir / GENERATION).read_text(encoding="ascii").partition("\n")[2]
        return bool(json.loads(body)["generation"]["id"])
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _size(size_bytes: int) -> str:
    if size_bytes < 1000:
        return f"{size_bytes} B"
    size, unit = size_bytes / 1000, "kB"
    for larger in ("MB", "GB", "TB", "PB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}"


def _shown(path: Path) -> str:
    """Bytes that are no text as escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")
