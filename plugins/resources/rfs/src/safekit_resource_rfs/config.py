"""What a module file says about a replicated directory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from safekit_resource_rfs.timetable import check_times
from safekit_sdk import Duration, ResourceConfig
from safekit_sdk.units import FailureAction

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE: Final = re.compile(r"(\d{1,15})([KMGT]?)")
MAX_SIZE_BYTES: Final = 1 << 60


def _read_size(value: object) -> object:
    """`512M` in bytes; anything else is for pydantic to judge."""
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value)
    if not found:
        raise ValueError(f"'{value}' is not a size; write a number and K, M, G or T: 512M")
    return int(found[1]) * _UNITS[found[2]]


Size = Annotated[int, BeforeValidator(_read_size), Field(ge=0, le=MAX_SIZE_BYTES)]
"""Bytes, written `512M` or as a plain number."""


def _plain_directory(path: Path) -> Path:
    if not path.is_absolute() or path == Path("/"):
        raise ValueError(f"'{path}' is not the absolute path of a directory below /; begin it with /")
    if ".." in path.parts:
        raise ValueError(f"'{path}' contains '..'; write the path without")
    if len(bytes(path)) > 1024:
        raise ValueError("the path has more than 1024 bytes; choose a shorter one")
    return path


Pattern = Annotated[str, StringConstraints(pattern=r"^[^/\x00]([^\x00]*[^/\x00])?$", max_length=1024)]
"""Of a shell: `*.tmp` is a name anywhere, `cache/*` a path from the directory on."""

Calendar = Annotated[str, StringConstraints(max_length=200), AfterValidator(check_times)]
"""Minute, hour, day, month and weekday, as in crontab(5)."""


class RfsConfig(ResourceConfig):
    action: FailureAction = "stopstart"
    """What the generated rule does when the data path died or the node's own disk fails."""
    directory: Annotated[Path, AfterValidator(_plain_directory)]
    """What is replicated, the same on both nodes, with all below it. It exists on both."""
    mode: Literal["write", "ordered", "writeback"] = "write"
    """When a modification is acknowledged to the application: `write`: when the other node has received it; `ordered`:
    at once, in order, and fsync waits; `writeback`: when the kernel's cache has it, and fsync waits. In every mode
    fsync returns when both disks have it."""
    network: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """The cluster's network that is tried first; the others follow in their order. All in their order when absent."""
    port: int = Field(default=0, ge=0, le=65535)
    """Where this node listens for the other, on TCP; 0: any that is free."""
    listen: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] = Field(default=(), max_length=8)
    """Addresses of this node to listen on; all when empty. Only the other node's key is let in, on whichever."""
    timeout: Duration = Duration(10)
    """The other node counts as lost for the data when it does not answer for so long."""
    bandwidth: Size = 0
    """Bytes per second that a resynchronisation may take; 0: no limit. The application's writes are not held back."""
    exclude: tuple[Pattern, ...] = Field(default=(), max_length=256)
    """Names and paths that are not replicated, with all below them: `*.tmp`, `cache/*`. They stay on the node on which
    they are made."""
    checkpoint: Duration = Duration(30)
    """Time between two checkpoints: both disks then have everything, and what a resynchronisation after a crash has to
    look at begins anew."""
    first_sync: Literal["refuse", "overwrite"] = "refuse"
    """What to do with a node that was never synchronised and whose directory has content: `refuse` asks for
    `safekit rfs sync --from-primary`; `overwrite` makes it equal to the primary's without asking."""
    verify_at: Calendar | None = None
    """When the primary compares both nodes by itself, while they are paired: `30 2 * * sun`, in local time; weekdays by
    name. What it found is the value `rfs.verified`. Never when absent."""
    sync_at: Calendar | None = None
    """When a secondary that was lost is brought up to date again: from the next of these times on. Until then it is
    not up to date and cannot take over. At once when absent."""
    keep_aside: Duration = Duration(30 * 86400.0)
    """How long versions of a split brain's loser are kept."""
    keep_aside_size: Size = 10 << 30
    """How much of them is kept; the oldest go first."""
    start_timeout: Duration = Duration(60)
    """A start, or becoming primary, that takes longer has failed."""
